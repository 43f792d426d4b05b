# lib/roles.sh: the roles in PostgreSQL, which db/roles.sh manages in the container of the database.

run_roles() { # run_roles MODE COMMAND ARGUMENTS...: of db/roles.sh, with its input
    roles_container=$(container_of "$1" db)
    roles_run="sh run.sh $(mode_flag "$1")"
    shift
    docker exec -i -u postgres -e "POSTDO_RUN=$roles_run" "$roles_container" sh /etc/postdo/roles.sh "$@"
}

# Before a volume of an older kit is moved over, it is the site's role.
superuser_of() { # superuser_of MODE
    run_roles "$1" superuser "$POSTGRES_USER" </dev/null
}

# What the volume cannot serve is found out on the server that runs, before anything is restarted for it.
require_roles() { # require_roles MODE
    is_well "$1" db || return 0
    roles_wrong=$(run_roles "$1" check "$POSTGRES_USER" "$POSTGRES_DB" </dev/null 2>>"$LOG_FILE") || return 0
    [ -z "$roles_wrong" ] || fail_for_roles "$roles_wrong"
    require_same_order "$1" "$(libc_to_come "$1")"
}

# One that is well is left as it is: if it has to restart, the caller decides when. Where the kit's files in it are gone (the
# clone was moved, or its folder replaced), only another container brings them.
start_database() { # start_database MODE
    if is_well "$1" db; then
        if docker exec "$(container_of "$1" db)" test -r /etc/postdo/roles/settle.sql 2>>"$LOG_FILE"; then
            settle_roles "$1"
            return
        fi
        set -- "$1" --force-recreate
    fi
    start_order=$(order_to_come "$1")
    start_server "$@"
    settle_roles "$1"
    require_same_order "$1" "" "$start_order"
}

# The superuser, the site's role and the extensions, as they should be: nothing is said where they are.
settle_roles() { # settle_roles MODE
    roles_createdb=$([ "$1" = prod ] && printf NOCREATEDB || printf CREATEDB)
    printf '\n== The roles in PostgreSQL\n' >>"$LOG_FILE" || true
    roles_status=0
    roles_said=$(printf '%s' "$POSTGRES_PASSWORD" |
        run_roles "$1" settle "$POSTGRES_USER" "$POSTGRES_DB" "$roles_createdb" "$DB_EXTENSIONS" 2>>"$LOG_FILE") || roles_status=$?
    [ -z "$roles_said" ] || printf '%s\n' "$roles_said" >>"$LOG_FILE"
    [ "$roles_status" -eq 0 ] || fail_for_roles "$roles_said"
    printf '%s\n' "$roles_said" | fact said | sed 's/^/  /'
    [ "$1" != prod ] || end_left_link >>"$LOG_FILE" 2>&1 || warn "what an interrupted upgrade-db left on the database could not be removed; see $LOG_FILE"
}

fail_for_roles() { # fail_for_roles FACTS
    roles_what=$(printf '%s\n' "$1" | fact what)
    roles_remedy=$(printf '%s\n' "$1" | fact next)
    fail "${roles_what:-the roles in PostgreSQL could not be set up}" "${roles_remedy:-fix what the last lines of the log say, then run the command again}"
}

# One role makes the databases that a rehearsal or a swap needs, for as long as postdo runs; the site's own may not.
open_release_role() {
    POSTDO_RELEASE_ROLE=postdo_release # db/roles.sh
    POSTDO_RELEASE_PASSWORD=$(random_word 32)
    export POSTDO_RELEASE_ROLE POSTDO_RELEASE_PASSWORD
    undo_with close_release_role
    printf '%s' "$POSTDO_RELEASE_PASSWORD" | run_roles prod open "$POSTGRES_USER" >&2
}

close_release_role() {
    run_roles prod close </dev/null
}
