# lib/lock.sh: one run.sh at a time for each mode.
#
# A lock is a file that says who holds it: "PID START DATE TIME (COMMAND)". It is made whole under another name and linked, which
# is atomic on every file system and fails if the lock is there. flock(1) would do, but not on every laptop.
# Its owner is a process: when that is gone, also by kill -9, the next run takes the lock over.

LOCKS=

take_lock() { # take_lock NAME
    make_state_folder "$STATE"
    lock_path="$STATE/lock-$1"
    lock_mine="$STATE/owner.$$"
    printf '%s %s %s (%s)\n' "$$" "$(process_start "$$")" "$(date '+%Y-%m-%d %H:%M:%S')" "${COMMAND-}" 2>/dev/null >"$lock_mine" || {
        rm -f "$lock_mine" 2>/dev/null || true
        cannot_write "$STATE"
    }
    lock_tries=0
    until ln "$lock_mine" "$lock_path" 2>/dev/null; do
        # A lock that is there and cannot be read, or a file system without links: no reason to try for ever.
        lock_tries=$((lock_tries + 1))
        [ "$lock_tries" -lt 50 ] || {
            rm -f "$lock_mine" 2>/dev/null || true
            fail "cannot take the lock $lock_path" "find its owner: ls -l $STATE; if no run.sh is running, remove it: rm $lock_path"
        }
        lock_holder=$(cat "$lock_path" 2>/dev/null) || continue
        if lock_is_held "$lock_holder"; then
            rm -f "$lock_mine"
            lock_since=${lock_holder#* }
            fail "another run.sh is running here ($1): process ${lock_holder%% *}, since ${lock_since#* }" \
                "wait until it ends, or stop it: kill ${lock_holder%% *}"
        fi
        remove_stale_lock "$lock_path" "$lock_holder"
    done
    rm -f "$lock_mine"
    LOCKS="$LOCKS $1"
}

# The process lives, and is the one that took the lock (pids are used again). Asked of its start and not by a signal,
# which one may not send to the processes of another user.
lock_is_held() { # lock_is_held HOLDER
    lock_rest=${1#* }
    lock_start=$(process_start "${1%% *}")
    [ -n "$lock_start" ] && [ "$lock_start" = "${lock_rest%% *}" ]
}

is_locked() { # is_locked NAME: by another run.sh, which is at work
    locked_by=$(cat "$STATE/lock-$1" 2>/dev/null) && [ "${locked_by%% *}" != "$$" ] && lock_is_held "$locked_by"
}

command_of() { # command_of HOLDER: of run.sh
    printf '%s\n' "$1" | sed -n 's/.*(\(.*\))$/\1/p'
}

# Several may see the same stale lock, and a slow one must not remove the lock that a fast one has just taken: only who
# has the guard removes, and looks again first.
remove_stale_lock() { # remove_stale_lock PATH HOLDER
    if ln "$lock_mine" "$1.guard" 2>/dev/null; then
        [ "$(cat "$1" 2>/dev/null)" != "$2" ] || rm -f "$1"
        rm -f "$1.guard"
    elif lock_is_held "$(cat "$1.guard" 2>/dev/null)"; then
        sleep 0.1
    else
        rm -f "$1.guard" # its owner was killed in just that moment
    fi
}

# When a process started, in a form that stays the same while it lives: clock ticks since boot where there is /proc
# (proc(5), stat, field 22: the 20th behind the name, which may hold spaces), else what ps says. Empty for one that has
# ended, also if nobody has collected it (a zombie).
process_start() { # process_start PID
    if [ -r "/proc/$1/stat" ]; then
        sed -n '/) [ZX] /!s/.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
    else
        ps -o lstart= -p "$1" 2>/dev/null | tr -d ' '
    fi
}

# A process of this run.sh that ends what it has begun also when this one is killed: nobody else is to begin meanwhile.
lend_lock() { # lend_lock NAME PID
    lend_mine="$STATE/owner.$$"
    printf '%s %s %s (%s)\n' "$2" "$(process_start "$2")" "$(date '+%Y-%m-%d %H:%M:%S')" "${COMMAND-}" >"$lend_mine" && mv "$lend_mine" "$STATE/lock-$1"
}

release_locks() {
    for lock_name in $LOCKS; do
        release_lock "$lock_name"
    done
}

release_lock() { # release_lock NAME, which this run.sh has
    rm -f "$STATE/lock-$1"
    LOCKS=$(printf ' %s ' "$LOCKS" | sed "s/ $1 / /")
}
