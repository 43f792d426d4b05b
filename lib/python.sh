# lib/python.sh: virtual environments below .postdo/, made once and changed only when the requirements have changed.

PYTHON_FLOOR=3.10
VENV="$STATE/venv" # for -2

# The newest Python that will do. Prints its path.
find_python() {
    for python_name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        python_path=$(command -v "$python_name" 2>/dev/null) || continue
        python_version=$("$python_path" -V 2>/dev/null | cut -d ' ' -f 2) || continue
        ! version_at_least "$python_version" "$PYTHON_FLOOR" || { printf '%s' "$python_path" && return; }
    done
    return 1
}

require_python() {
    PYTHON=$(find_python) ||
        fail "Python $PYTHON_FLOOR or newer is not installed" "install it (Debian, Ubuntu: sudo apt install python3 python3-venv), or use Docker: sh run.sh -1"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON cannot create virtual environments" "install the package python3-venv (Debian, Ubuntu: sudo apt install python3-venv)"
}

# What is in the environment is said by a stamp, written last: without it, or with another one, the install is done
# (again). An interrupted one therefore never counts.
prepare_venv() { # prepare_venv FOLDER REQUIREMENTS_FILE...
    venv=$1
    shift
    venv_stamp=$(cat "$@" | cksum)
    if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$venv_stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        step "Create a virtual environment" "$PYTHON" -m venv --clear "$venv"
    fi
    rm -f "$venv/stamp"
    for venv_file in "$@"; do
        set -- "$@" -r "$venv_file"
        shift
    done
    # Paths in them (./libs/shop) are those below web/.
    try "Install the requirements" in_web "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" ||
        step_failed "installing the requirements" "check that this machine can reach its Python package index, then run the command again"
    printf '%s\n' "$venv_stamp" >"$venv/stamp" || cannot_write "$venv/stamp"
}

# postdo is used from the clone, as it is: nothing of the clone's other folders gets on the path.
link_package() { # link_package VENV PACKAGE
    link_folder=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    [ "$(readlink "$link_folder/$2")" = "$ROOT/$2" ] || { rm -rf "${link_folder:?}/$2" && ln -s "$ROOT/$2" "$link_folder/$2"; }
}

project_requirements() { # project_requirements dev|prod|test: the file of the project in web/
    case $1 in
    dev) requirements_names="dev development local" ;; # as image/install.sh looks for them
    prod) requirements_names="prod production" ;;
    *) requirements_names=$1 ;;
    esac
    for requirements_name in $requirements_names; do
        requirements_file="$ROOT/web/requirements/$requirements_name.txt"
        [ ! -f "$requirements_file" ] || { printf '%s' "$requirements_file" && return; }
    done
    requirements_file="$ROOT/web/requirements.txt"
    [ ! -f "$requirements_file" ] || { printf '%s' "$requirements_file" && return; }
    [ ! -f "$ROOT/web/uv.lock" ] || fail "web/ has a uv.lock but no requirements.txt, which is what the kit installs" \
        "create it now and after each change of the lock: cd web && uv export --frozen --no-dev --no-emit-project -o requirements.txt"
    [ ! -f "$ROOT/web/poetry.lock" ] || fail "web/ has a poetry.lock but no requirements.txt, which is what the kit installs" \
        "create it now and after each change of the lock: cd web && poetry export -o requirements.txt (needs poetry-plugin-export)"
    fail "web/ has neither requirements/$1.txt nor requirements.txt" "write one: see \"I have a project already\" in README.md"
}
