# lib/uploads.sh: the volume with production's uploads (MEDIA_ROOT, PRIVATE_MEDIA_ROOT), for `backup` and `restore`.

# In PostgreSQL's image, which is there wherever a backup is.
in_uploads() { # in_uploads ro|rw COMMAND ARGUMENTS...
    uploads_mount=$PROJECT_NAME-prod_prod-media:/files:$1
    uploads_command=$2
    shift 2
    docker run --rm --interactive --network none --volume "$uploads_mount" --user 0 --entrypoint "$uploads_command" \
        "$(docker inspect --format '{{.Image}}' "$(container_of prod db)")" "$@"
}

has_uploads() {
    docker volume inspect "$PROJECT_NAME-prod_prod-media" >/dev/null 2>&1 &&
        [ -n "$(in_uploads ro find /files -type f </dev/null | head -n 1)" ]
}
