# commands/backup.sh: back up a mode's database into a file in backups/, and production's uploads into another.
# usage: sh run.sh [-0|-1] backup
#
# The site keeps running. pg_dump -Fc writes the first file, tar the second one (if there are uploads in the volume), and
# `restore` reads both. Keep .env with them.

main() {
    take_no_arguments "$@"
    enter_mode
    require_database "$MODE"
    prepare_backups_folder
    backup_name="$ROOT/backups/$PROJECT_NAME-$(mode_name "$MODE")-$(date -u +%Y%m%dT%H%M%SZ)"
    backup_file=$backup_name.dump
    undo_with remove_part
    step "Back up the database" write_backup
    keep_backup
    if [ "$MODE" = prod ] && has_uploads; then
        backup_file=$backup_name-uploads.tar
        step "Back up the uploads" write_uploads
        keep_backup
    fi
    UNDO=${UNDO#remove_part }
}

keep_backup() {
    [ -s "$backup_file.part" ] || fail "the backup is empty" "find the reason in the log, then run the command again"
    mv "$backup_file.part" "$backup_file" || cannot_write "$backup_file"
    say "wrote backups/${backup_file##*/} ($(wc -c <"$backup_file" | tr -d ' ') bytes)"
}

# Under another name until it is whole: a full disk or a kill leaves nothing that looks like a backup.
write_backup() {
    (umask 077 && in_database "$MODE" pg_dump --format=custom -d "$POSTGRES_DB" </dev/null >"$backup_file.part")
}

# After the database: what a row names was there before it. That a file changes meanwhile is no reason to fail. tar says it by
# a 1, which is looked at in the container: out here it may be docker's, of a disk that is full.
write_uploads() {
    # shellcheck disable=SC2016 # for the shell in the container
    (umask 077 && in_uploads ro sh -c 'tar -C /files -cf - . || [ $? -eq 1 ]' </dev/null >"$backup_file.part") &&
        is_whole_tar "$backup_file.part"
}

remove_part() {
    rm -f "$backup_file.part"
}
