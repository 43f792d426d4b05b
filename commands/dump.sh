# commands/dump.sh: write the data as a fixture (dumpdata) to a file on this machine.
# usage: sh run.sh [-0|-1|-2] dump FILE.json [DUMPDATA ARGUMENTS...]
#
# Without DUMPDATA ARGUMENTS it writes everything except what Django creates by itself (content types, permissions).

main() {
    [ $# -gt 0 ] || usage_error "dump needs a file, such as: dump data.json"
    dump_file=$1
    shift
    case $dump_file in
    *.json) ;;
    *) usage_error "'$dump_file' does not end in .json" ;;
    esac
    [ $# -gt 0 ] || set -- --natural-foreign --natural-primary --exclude contenttypes --exclude auth.permission --indent 2
    enter_mode
    # Written beside its name and renamed when it is whole: a failed dump leaves the one before as it was.
    (umask 077 && : >"$dump_file.part") 2>/dev/null || fail "cannot write to $dump_file.part" "name a file in a folder that you can write to"
    undo_with remove_part
    manage dumpdata "$@" </dev/null >"$dump_file.part" ||
        fail "the dump failed; its message is above" "$FIX_ABOVE"
    mv "$dump_file.part" "$dump_file"
    say "wrote $dump_file ($(wc -c <"$dump_file" | tr -d ' ') bytes)"
}

remove_part() {
    rm -f "$dump_file.part"
}
