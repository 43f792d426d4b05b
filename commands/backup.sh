# commands/backup.sh: write all data of a mode's database into one file below backups/.
# usage: sh run.sh [-0|-1] backup
#
# The site keeps running. The file is what pg_dump -Fc writes; `restore` reads it. Keep .env with it.

main() {
    [ $# -eq 0 ] || usage_error "backup takes no argument '$1'"
    enter_mode
    require_database "$MODE"
    prepare_backups_folder
    backup_file="$ROOT/backups/$PROJECT_NAME-$(mode_name "$MODE")-$(date -u +%Y%m%dT%H%M%SZ).dump"
    undo_with remove_part
    step "Back up the database" write_backup
    [ -s "$backup_file.part" ] || fail "the backup is empty" "read the log, and run the same command again"
    mv "$backup_file.part" "$backup_file" || fail "cannot write $backup_file" "free some disk space"
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
