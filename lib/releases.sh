# lib/releases.sh: the record of production's releases, and the images of the last of them, to roll back to.
#
# Release 12 is .postdo/releases/12, KEY=VALUE a line, and its image has the tag release-12. Keys: began, seconds, by,
# version, revision, smoke (its SMOKE_PATHS), from (the IMAGE that was built elsewhere), image, replaces (the number of the release that served before it), applied (one
# line for each migration), migration (one line for each that its code has), file (one for each that web/ had, also of apps that
# are not installed) and outcome, which is "unfinished" until there is one. An image has its tag from just before the
# switch on, so that a run that is killed leaves no live release without one.

RELEASES="$STATE/releases"
SHOWN_RELEASES=20

release_fact() { # release_fact NUMBER KEY
    fact "$2" 2>/dev/null <"$RELEASES/$1"
}

lines_not_in() { # lines_not_in LINES: those of standard input that are none of these
    { printf '%s\n\n' "$1" && cat; } | awk '!NF { ours = 1; next } ours { if (!($0 in there)) print; next } { there[$0] }'
}

release_numbers() { # the newest first
    find "$RELEASES" -type f -name '[0-9]*' ! -name '*[!0-9]*' 2>/dev/null | sed 's/.*\///' | sort -rn
}

release_image() { # release_image NUMBER: its name, if the image is still here
    ! docker image inspect "$PROJECT_NAME-web:release-$1" >/dev/null 2>&1 || printf '%s-web:release-%s' "$PROJECT_NAME" "$1"
}

# The newest with the image of the live colour, which is still here under its number: a record cannot be wrong about what
# runs. (One that failed may be of the same image, where only .env had changed.)
live_release() { # empty where none was recorded
    [ -n "$(live_colour)" ] || return 0
    live_image=$(docker image inspect --format '{{.Id}}' "$PROJECT_NAME-web:$(live_colour)" 2>/dev/null) || return 0
    for live_number in $(release_numbers); do
        if [ "$(release_fact "$live_number" image)" = "$live_image" ] && [ -n "$(release_image "$live_number")" ]; then
            printf '%s' "$live_number"
            return
        fi
    done
}

operator() { # who runs this
    printf '%s' "${SUDO_USER:-$(id -un 2>/dev/null || id -u)}"
}

# Until it ends well, it has failed: what it ends with then goes into its record.
begin_release() {
    make_state_folder "$RELEASES"
    release_number=$(($(release_numbers | head -n 1) + 1))
    release_replaces=$(live_release)
    release_began=$(date +%s)
    {
        printf 'began=%s\n' "$(date '+%Y-%m-%d %H:%M:%S')"
        printf 'by=%s\n' "$(operator)"
        printf 'version=%s\nrevision=%s\nsmoke=%s\n' "$APP_VERSION" "$APP_REVISION" "$SMOKE_PATHS"
        [ -z "$GIVEN_IMAGE" ] || printf 'from=%s\n' "$GIVEN_IMAGE"
        printf 'image=%s\n' "$(docker image inspect --format '{{.Id}}' "$PROJECT_NAME-web:next" 2>/dev/null)"
        printf 'replaces=%s\noutcome=unfinished\n' "$release_replaces"
        [ "${build-}" != yes ] || [ -n "$GIVEN_IMAGE" ] || migration_files | sed 's/^/file=/'
    } >"$RELEASES/$release_number" || warn "cannot write $RELEASES/$release_number"
    undo_with record_failure
}

record_failure() {
    # It can be interrupted between the switch and the end of its step.
    if [ "$(live_colour)" = "$new" ]; then
        end_release live
        return
    fi
    case $finish_status in
    3) end_release refused ;;
    4) end_release undone ;;
    129 | 130 | 141 | 143) end_release interrupted ;;
    *) end_release failed ;;
    esac
}

end_release() { # end_release OUTCOME
    release_record="$RELEASES/$release_number"
    if {
        sed '/^applied=/d; /^migration=/d; /^seconds=/d; /^outcome=/d' "$release_record" &&
            result applied | sed 's/^/applied=/' &&
            result migration | sed 's/^/migration=/' &&
            printf 'seconds=%s\noutcome=%s\n' "$(($(date +%s) - release_began))" "$1"
    } >"$release_record.new"; then
        mv "$release_record.new" "$release_record"
    else
        warn "cannot write $release_record"
    fi
}

tag_release_image() {
    docker tag "$PROJECT_NAME-web:next" "$PROJECT_NAME-web:release-$release_number" >>"$LOG_FILE" 2>&1 ||
        warn "could not tag the image of release $release_number; see $LOG_FILE"
}

untag_release_image() { # what was taken back is no place to roll back to
    docker image rm "$PROJECT_NAME-web:release-$release_number" >>"$LOG_FILE" 2>&1 || true
}

# An image without a tag is one that was built and replaced before it was released.
remove_old_images() {
    {
        images_to_drop | while IFS= read -r drop_image; do
            docker image rm "$drop_image" || true # a container may still use it: the next release tries again
        done
        docker image prune --force --filter "label=com.docker.compose.project=$PROJECT_NAME-prod"
        [ -n "$GIVEN_IMAGE" ] || remove_old_build_cache
    } >>"$LOG_FILE" 2>&1 || warn "could not remove old images; see $LOG_FILE"
}

# Beyond the KEEP_RELEASES newest images. Several releases can have one: a changed .env is a release of the same image. And
# not what a colour has: after a rollback, that can be an old one.
images_to_drop() {
    docker image ls --no-trunc --filter "reference=$PROJECT_NAME-web" --format '{{.Tag}} {{.ID}}' | sed 's/^release-//' | sort -rn |
        awk -v keep="$KEEP_RELEASES" -v name="$PROJECT_NAME-web:release-" '
            $1 == "blue" || $1 == "green" { used[$2] }
            $1 !~ /^[0-9]+$/ { next }
            !($2 in rank) { rank[$2] = ++images }
            { number[++count] = $1; image[count] = $2 }
            END {
                for (i = 1; i <= count; i++)
                    if (rank[image[i]] > keep && !(image[i] in used)) print name number[i]
            }'
}

CACHE_OLD=24h     # since a build last used it: none that runs now is about to
CACHE_AT_ONCE=200 # records that are removed in one go, which takes a busy disk up to a second for each

# Docker does not know whose build cache is whose, and lets all of it grow to a share of the disk. Ours is known by the
# instructions of our Dockerfile; that of other projects is left alone. What another site of this kit loses by it, it makes
# anew with its next change of web/, or has not used for a month. Once a day is enough. (docs/decisions/disk.md)
remove_old_build_cache() {
    cache_looked="$STATE/build-cache"
    [ -z "$(find "$cache_looked" -mtime -1 2>/dev/null)" ] || return 0
    : >"$cache_looked"
    cache_records=$(docker buildx du --verbose 2>/dev/null) || return 0 # an old Docker, which then bounds it alone
    remove_build_cache replaced "$KEEP_RELEASES" "$CACHE_OLD"
    remove_build_cache others 0 720h
}

remove_build_cache() { # remove_build_cache replaced|others KEEP UNUSED: but the KEEP newest of each, and what was used since
    cache_ids=$(printf '%s\n' "$cache_records" | LC_ALL=C awk -v want="$1" -f "$ROOT/lib/build-cache.awk" | LC_ALL=C sort -r |
        awk -F '\t' -v keep="$2" 'seen[$1]++ >= keep { print $2 "\t" $3 }' | LC_ALL=C sort | head -n "$CACHE_AT_ONCE" |
        awk -F '\t' '{ printf "%s%s", (NR > 1 ? "|" : ""), $2 }')
    [ -z "$cache_ids" ] || docker buildx prune --force --filter "id=^($cache_ids)\$" --filter "until=$3"
}
