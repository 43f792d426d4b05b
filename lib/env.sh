# lib/env.sh: the configuration. Makes .env, reads it, and refuses what cannot work before anything is touched.

ENV_FILE="$ROOT/.env"
ENV_EXAMPLE="$ROOT/.env.example"

prepare_environment() {
    ensure_env_file
    load_env_file
    check_environment
}

# For what only looks: before the first start there is no .env, and it does not make one.
read_environment() {
    if [ -e "$ENV_FILE" ]; then prepare_environment; else load_env_file; fi
}

# The first start writes .env from .env.example, with secrets of its own. It is never overwritten: of two first starts
# at once one links its file, and the other one uses that.
ensure_env_file() {
    [ ! -e "$ENV_FILE" ] || return 0
    env_new="$ROOT/.env.new.$$"
    (umask 077 && fill_in_secrets <"$ENV_EXAMPLE" >"$env_new") 2>/dev/null && [ -s "$env_new" ] || {
        rm -f "$env_new"
        cannot_write "$ENV_FILE" "$ROOT"
    }
    ln "$env_new" "$ENV_FILE" 2>/dev/null && say "wrote .env with new secrets, readable only by you"
    rm -f "$env_new"
}

fill_in_secrets() {
    while IFS= read -r fill_line; do
        case $fill_line in
        SECRET_KEY=) printf '%s%s\n' "$fill_line" "$(random_word 64)" ;;
        *_PASSWORD=) printf '%s%s\n' "$fill_line" "$(random_word 24)" ;;
        ALLOWED_HOSTS=*) printf '%s%s\n' "$fill_line" "$(own_names)" ;;
        *) printf '%s\n' "$fill_line" ;;
        esac || return 1
    done
}

# Letters, digits, - and _ only: nothing that Compose, a URL or a shell would read as something else.
random_word() { # random_word LENGTH: a letter or digit first, so that no program takes it for an option
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom 2>/dev/null | dd bs=1 count=1 2>/dev/null
    LC_ALL=C tr -dc 'A-Za-z0-9_-' </dev/urandom 2>/dev/null | dd bs=1 count="$(($1 - 1))" 2>/dev/null
}

# The names by which a browser may ask for this machine before it has a domain.
own_names() {
    own_host=$(hostname 2>/dev/null || true)
    own_address=$(hostname -I 2>/dev/null | cut -d ' ' -f 1 || true)
    for own_name in "$own_host" "$own_address"; do
        case $own_name in
        '' | localhost | *[!A-Za-z0-9.-]*) ;;
        *) printf ',%s' "$own_name" ;;
        esac
    done
}

known_keys() { # every key of .env.example, whether set or commented out
    sed -n 's/^#\{0,1\} \{0,1\}\([A-Z][A-Z0-9_]*\)=[^ ]*$/\1/p' "$ENV_EXAMPLE"
}

GIVEN=     # the keys that the environment had before .env was read; empty as long as it was not
OWN=       # the project's own keys that .env has and the environment had not
OWN_GIVEN= # those that both have
# The names of DOMAIN behind its first, separated by commas: they are sent on to that.
POSTDO_OTHER_NAMES=
export POSTDO_OTHER_NAMES

# Of a .env that has no such line: it is of a kit that had this image only, and so are the volumes that belong to it.
FIRST_POSTGRES_IMAGE=postgres:17

# Known keys become variables. What the environment has already wins, as in Compose; what .env lacks (it was written by
# an older kit) has the default of .env.example. A project's own keys are handed on as they are.
load_env_file() {
    [ ! -e "$ENV_FILE" ] || { [ -f "$ENV_FILE" ] && [ -r "$ENV_FILE" ]; } ||
        fail ".env cannot be read" "make it a file that you can read: sudo chown $(id -un 2>/dev/null || id -u) $ENV_FILE"
    env_known=" $(known_keys | tr '\n' ' ') "
    note_given
    [ ! -e "$ENV_FILE" ] || read_keys "$ENV_FILE"
    [ ! -e "$ENV_FILE" ] || is_set POSTGRES_IMAGE || export POSTGRES_IMAGE="$FIRST_POSTGRES_IMAGE"
    read_keys "$ENV_EXAMPLE"
    # A name is the same in either case, and Caddy keeps its certificates under this one.
    DOMAIN=$(printf '%s' "$DOMAIN" | tr '[:upper:]' '[:lower:]')
    # Of several names the first is the site's. (At a second look they are apart already.)
    case $DOMAIN in *,*) POSTDO_OTHER_NAMES=${DOMAIN#*,} DOMAIN=${DOMAIN%%,*} ;; esac
}

read_keys() { # read_keys FILE
    env_file=$1
    env_lines=$(awk -f "$ROOT/lib/dotenv.awk" "$1")
    [ -n "$env_lines" ] || return 0
    env_line_end=$(printf '\001')
    while read -r env_kind env_number env_key env_value; do
        env_value=${env_value#?}
        env_value=${env_value%?}
        case $env_value in *"$env_line_end"*)
            env_value=$(printf '%s.' "$env_value" | tr '\001' '\n')
            env_value=${env_value%.}
            ;;
        esac
        case $env_kind in
        key) take_key "$env_key" "$env_value" ;;
        bad)
            [ "$env_key" != - ] || env_key="it is not KEY=VALUE"
            fail ".env line $env_number cannot be read: $env_key" "$env_value"
            ;;
        esac
    done <<LINES
$env_lines
LINES
}

# Asked before the first file is read: afterwards its keys are in the environment too.
note_given() {
    [ -z "$GIVEN" ] || return 0
    GIVEN=" "
    for given_key in $env_known; do
        ! is_set "$given_key" || GIVEN="$GIVEN$given_key "
    done
}

is_set() { # is_set NAME
    eval "[ -n \"\${$1+set}\" ]"
}

# Where the value that counts was written, for messages.
place_of() { # place_of KEY
    case $GIVEN in *" $1 "*) printf 'the environment' ;; *) printf '.env' ;; esac
}

take_key() { # take_key NAME VALUE
    case $env_known in
    *" $1 "*) is_set "$1" || export "$1=$2" ;;
    *)
        # A job that .env does not have is none: the one of .env.example is what a new .env begins with.
        case $1 in SCHEDULE_*) [ "$env_file" = "$ENV_FILE" ] || return 0 ;; esac
        warn_unknown_key "$1"
        case "$OWN $OWN_GIVEN " in *" $1 "*) return ;; esac # .env was read before
        if is_set "$1"; then
            OWN_GIVEN="$OWN_GIVEN $1"
        else
            OWN="$OWN $1"
            export "$1=$2" # for -2; the containers have it by env_file
        fi
        ;;
    esac
}

WARN_OF_KEYS=yes

# A key that the kit does not know is the project's own, or that of a library, which nothing here can see. Only what
# looks like one of ours is likely to be a mistake.
warn_unknown_key() { # warn_unknown_key NAME
    [ "$WARN_OF_KEYS" = yes ] || return 0
    case $1 in DJANGO_SUPERUSER_* | SCHEDULE_*) return 0 ;; esac
    nearest=$(known_keys | awk -v word="$1" -f "$ROOT/lib/nearest.awk")
    [ "${nearest%% *}" -le 2 ] && [ "$((${nearest%% *} * 4))" -le "${#1}" ] || return 0
    ! project_reads "$1" || return 0
    warn ".env line $env_number: nothing reads $1; did you mean ${nearest#* }?"
}

project_reads() { # project_reads NAME
    [ -n "$(find "$ROOT/web" "$ROOT/docker-compose.override.yml" -name node_modules -prune -o \
        -type f -size -1024k -exec grep -lwF -e "$1" {} + 2>/dev/null | head -n 1)" ]
}

check_environment() {
    check_found=$(awk -v given="$GIVEN$OWN_GIVEN " -v jobs="$OWN $OWN_GIVEN" -v mode="$MODE" -f "$ROOT/lib/check.awk" </dev/null)
    [ -z "$check_found" ] || fail "$(printf '%s\n' "$check_found" | head -n 1)" "$(printf '%s\n' "$check_found" | tail -n 1), then start again"
    check_parts
}

# What .env has is not for other programs, and a run.sh would take it for the environment's.
forget_environment() {
    for forget_key in $env_known $OWN; do
        case $GIVEN in *" $forget_key "*) ;; *) unset "$forget_key" ;; esac
    done
}
