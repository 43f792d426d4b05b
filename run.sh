#!/bin/sh
# run.sh: the one door to the kit. It reads the mode and the command, and hands over to commands/<name>.sh.
#
#   sh run.sh -0 [command]   production      sh run.sh -1 [command]   development in Docker
#   sh run.sh -2 [command]   local, without Docker for the web
#
# POSIX sh: dash, bash and busybox sh all run it.
# Until the line ends are checked, each line ends in a comment: it takes the carriage return of a line that has one.
set -eu                                                                                                                                                    #
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)                                                                                                     #
KIT="run.sh entrypoint.sh .env.example Dockerfile lib/* commands/* image/* broker/* db/*.sh db/*.conf db/init/00-site-role.sh pgadmin/* proxy/* service/*" #
# shellcheck disable=SC2086 # split on purpose: a list of patterns
if (cd "$ROOT" && grep -qs "$(printf '\r')" $KIT); then                                                        #
    printf '%s\n' "error: files of the kit have Windows line endings (CRLF), and a shell cannot read them" >&2 #
    printf '%s\n' "  next: convert them: cd '$ROOT' && sed -i 's/\\r\$//' $KIT" >&2                            #
    exit 1                                                                                                     #
fi                                                                                                             #

STATE="$ROOT/.postdo"

# What a shell has for other work, or a Git hook sets, and would change what Compose, pip, Python, PostgreSQL's clients
# and Git do here. A line of that name in .env counts.
unset COMPOSE_ANSI COMPOSE_DISABLE_ENV_FILE COMPOSE_ENV_FILES COMPOSE_FILE COMPOSE_IGNORE_ORPHANS COMPOSE_PATH_SEPARATOR \
    COMPOSE_PROGRESS COMPOSE_PROJECT_NAME COMPOSE_REMOVE_ORPHANS COMPOSE_STATUS_STDOUT \
    PIP_DRY_RUN PIP_NO_DEPS PIP_PREFIX PIP_ROOT PIP_TARGET PYTHONHOME PYTHONPATH \
    PGDATABASE PGHOST PGHOSTADDR PGOPTIONS PGPASSFILE PGPASSWORD PGPORT PGSERVICE PGSSLMODE PGUSER \
    GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE
export DOCKER_BUILDKIT=1 PIP_USER=0

for library in log lock facts look checks result env engine owner ports image compose parts override explain database clusters roles collation modes oneoff prepare proxy restarts colours releases release_watch hooks dry_run hold maintenance watch copy pitr uploads backups sets drill new_machine certificate front jobs nightly offsite python local manage tests; do
    # shellcheck source=/dev/null
    . "$ROOT/lib/$library.sh"
done

MODE=
COMMAND=
case ${1-} in
-0) MODE=prod ;;
-1) MODE=dev ;;
-2) MODE=local ;;
-h | --help) set -- help ;;
-*) usage_error "unknown option '$1' (the modes are -0 production, -1 development and -2 local)" ;;
esac
[ -z "$MODE" ] || shift

# A mode without a command means: start it. An option after the mode (-0 --no-build) belongs to the start.
case ${1-} in
'' | -*)
    case $MODE in
    prod) COMMAND=production ;;
    dev) COMMAND=development ;;
    local) COMMAND=local ;;
    *) COMMAND=help ;;
    esac
    ;;
*)
    COMMAND=$1
    shift
    ;;
esac

require_command "$COMMAND"

handle_signals
# shellcheck source=/dev/null
. "$ROOT/commands/$COMMAND.sh"
main "$@"
