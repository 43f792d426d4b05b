# lib/image.sh: production's image, which is built from web/ or was built elsewhere; and the Python that it is built on.

GIVEN_IMAGE=${IMAGE-} # from the environment alone: a key IMAGE in .env is the project's own
unset IMAGE

# As PROJECT_NAME-web:next.
get_image() {
    require_disk 1000
    if [ -n "$GIVEN_IMAGE" ]; then take_image; else build_image prod; fi
}

# On a server that is too small to build on, or from a CI. The name is not kept: it would keep the image from being removed
# with its release.
take_image() {
    take_downloaded=
    if ! docker image inspect "$GIVEN_IMAGE" >/dev/null 2>&1; then
        try "Download $GIVEN_IMAGE" docker pull --quiet "$GIVEN_IMAGE" || {
            show_tail
            fail "the image $GIVEN_IMAGE could not be downloaded" "check the name in IMAGE, that this machine can reach its registry, and that it is logged in (docker login)"
        }
        take_downloaded=yes
    fi
    [ "$(image_label "$GIVEN_IMAGE" postdo.image)" = production ] ||
        fail "$GIVEN_IMAGE (IMAGE in the environment) is not a production image of this kit" "build it from a clone of your site, as \"An image that was built elsewhere\" in docs/releases.md says; to build web/ here, unset IMAGE"
    take_missing=$(parts_missing_in "$GIVEN_IMAGE")
    [ -z "$take_missing" ] ||
        fail "$GIVEN_IMAGE (IMAGE in the environment) was built without $take_missing, which COMPOSE_PROFILES has" "build it with --build-arg COMPOSE_PROFILES=$COMPOSE_PROFILES (docs/releases.md), or take it out of .env here"
    export_version_of_image "$GIVEN_IMAGE"
    step "Take $GIVEN_IMAGE, version $APP_VERSION" docker tag "$GIVEN_IMAGE" "$PROJECT_NAME-web:next"
    [ -z "$take_downloaded" ] || docker image rm "$GIVEN_IMAGE" >>"$LOG_FILE" 2>&1 || true
}

export_version_of_image() { # export_version_of_image IMAGE
    APP_VERSION=$(image_label "$1" org.opencontainers.image.version)
    APP_REVISION=$(image_label "$1" org.opencontainers.image.revision)
    export APP_VERSION APP_REVISION
}

image_label() { # image_label IMAGE LABEL
    docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1"
}

# PYTHON_IMAGE in .env decides, else web/.python-version, else the Dockerfile.

# Whatever stands there: only a build refuses what cannot be (require_python_image).
python_image() { # prints the name of the image
    if [ -n "$PYTHON_IMAGE" ]; then
        printf '%s' "$PYTHON_IMAGE"
        return
    fi
    image_default=$(sed -n 's/^ARG PYTHON_IMAGE=//p' "$ROOT/Dockerfile")
    image_version=$(asked_python)
    if is_python_version "$image_version"; then
        printf '%s:%s-%s' "${image_default%%:*}" "$image_version" "${image_default#*-}"
    else
        printf '%s' "$image_default"
    fi
}

asked_python() { # the version in web/.python-version, as pyenv and uv write it; empty if there is none
    [ -f "$ROOT/web/.python-version" ] || return 0
    LC_ALL=C tr -d ' \t\r\357\273\277' <"$ROOT/web/.python-version" | sed 's/#.*//; s/^cpython[@-]//' | sed -n '/./{p;q;}'
}

is_python_version() { # is_python_version WORD: like 3.12 or 3.12.4
    printf '%s\n' "$1" | grep -Eq '^3\.[0-9]+(\.[0-9]+)?$'
}

require_python_image() {
    image_asked=$(asked_python)
    if [ -n "$PYTHON_IMAGE" ]; then
        image_remedy="set PYTHON_IMAGE in $(place_of PYTHON_IMAGE) to an image with a version that it allows"
        case "$PYTHON_IMAGE-" in
        *":$image_asked"[.-]*) ;;
        *) [ -z "$image_asked" ] || warn "PYTHON_IMAGE in $(place_of PYTHON_IMAGE) ($PYTHON_IMAGE) overrides web/.python-version ($image_asked). To use the file, leave PYTHON_IMAGE empty." ;;
        esac
    else
        image_remedy="set web/.python-version to a version that it allows, such as 3.12"
        [ -z "$image_asked" ] || is_python_version "$image_asked" ||
            fail "web/.python-version asks for Python '$image_asked', which is not a version" \
                "set it to a version such as 3.12, or set PYTHON_IMAGE in .env to an image"
        [ -z "$image_asked" ] || version_at_least "$image_asked" "$PYTHON_FLOOR" ||
            fail "web/.python-version asks for Python $image_asked, which is too old" \
                "set it to $PYTHON_FLOOR or newer, or remove the file"
    fi
    [ -f "$ROOT/web/pyproject.toml" ] || return 0
    image_version=$(python_image | sed -n 's/.*python:\(3\.[0-9][0-9.]*\).*/\1/p')
    image_allowed=$(awk -v version="$image_version" -f "$ROOT/lib/requires-python.awk" "$ROOT/web/pyproject.toml")
    [ -z "$image_allowed" ] ||
        fail "web/pyproject.toml requires Python $image_allowed, but the image has $image_version" "$image_remedy"
}
