# lib/uploads.sh: the volume with production's uploads (MEDIA_ROOT, PRIVATE_MEDIA_ROOT), for `restore`.

# In PostgreSQL's image, which is there wherever a backup is.
in_uploads() { # in_uploads ro|rw COMMAND ARGUMENTS...
    uploads_mount=$PROJECT_NAME-prod_prod-media:/files:$1
    uploads_command=$2
    shift 2
    docker run --rm --interactive --network none --volume "$uploads_mount" --user 0 --entrypoint "$uploads_command" \
        "$(docker inspect --format '{{.Image}}' "$(container_of prod db)")" "$@"
}

# tar ends what it writes with two empty blocks: what was cut off anywhere else has none.
is_whole_tar() { # is_whole_tar FILE
    [ -s "$1" ] && [ "$(tail -c 1024 "$1" | tr -d '\000' | wc -c | tr -d ' ')" = 0 ]
}

# Can be read to its end, and every name in it is as `backup` writes it: below the folder. No device, and no link that leads
# out of the volume, which the proxy would follow into its own container.
holds_uploads() { # holds_uploads FILE
    in_uploads ro sh -c 'tar -tvf - && echo whole' <"$1" | awk -f "$ROOT/lib/uploads.awk"
}
