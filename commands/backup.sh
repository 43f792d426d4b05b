# commands/backup.sh: back up a mode's database into one file in backups/.
# usage: sh run.sh [-0|-1] backup
#
# The site keeps running. pg_dump -Fc writes the file, and `restore` reads it. Keep .env with it.

main() {
    take_no_arguments "$@"
    enter_mode
    require_database "$MODE"
    prepare_backups_folder
    backup_file="$ROOT/backups/$PROJECT_NAME-$(mode_name "$MODE")-$(date -u +%Y%m%dT%H%M%SZ).dump"
    undo_with remove_part
    step "Back up the database" write_backup
    [ -s "$backup_file.part" ] || fail "the backup is empty" "find the reason in the log, then run the command again"
    mv "$backup_file.part" "$backup_file" || cannot_write "$backup_file"
    UNDO=${UNDO#remove_part }
    say "wrote backups/${backup_file##*/} ($(wc -c <"$backup_file" | tr -d ' ') bytes)"
}

# Under another name until it is whole: a full disk or a kill leaves nothing that looks like a backup.
write_backup() {
    (umask 077 && in_database "$MODE" pg_dump --format=custom -d "$POSTGRES_DB" </dev/null >"$backup_file.part")
}

remove_part() {
    rm -f "$backup_file.part"
}
