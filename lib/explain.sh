# lib/explain.sh: why Docker could not build, pull, make or start something, in its own words, and what to do about it.

# Of the step that has just failed: why a container could not be pulled, made or started. Empty if it was the container
# that failed.
engine_words() {
    tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | awk '
        NF { last = $0 }
        END {
            if (last ~ /^( |Error: |\{)/ || last ~ /(^|: )container .* (exited|is unhealthy|has no healthcheck)/ || last ~ /^application not healthy/) exit
            sub(/^Error response from daemon: /, "", last)
            print last
        }'
}

# Which service it was, where Compose says so: the one whose image it could not pull.
engine_service() {
    tail -n "+$((LOG_MARK + 1))" "$LOG_FILE" | sed -n 's/^ \([a-z][a-z0-9_-]*\) Error .*/\1/p' | head -n 1
}

explain_engine() { # explain_engine WORDS AND_REPEAT
    explain_what=$(engine_service)
    if [ -n "$explain_what" ]; then
        explain_what="the image of $explain_what could not be pulled: $1"
    else
        explain_what="the Docker engine could not start a container: $1"
    fi
    show_tail
    explain_remedy=$(engine_hint "$1")
    fail_site "$explain_what" "${explain_remedy:-fix this cause}, $2"
}

engine_hint() { # engine_hint WORDS: what to do about them; empty if that is not known
    case $1 in
    *toomanyrequests* | *"ull rate limit"*) printf 'log in with docker login, or wait some hours (Docker Hub limits how much one address may pull)' ;;
    *"no such host"* | *"server misbehaving"* | *"name resolution"* | *"lookup "*) printf 'fix the DNS of this machine (/etc/resolv.conf) and restart Docker (sudo systemctl restart docker)' ;;
    *"i/o timeout"* | *"network is unreachable"* | *"no route to host"* | *"TLS handshake"* | *"Client.Timeout"* | *"connection refused"* | *"deadline exceeded"* | *"Connection reset"*)
        printf 'check the network and the firewall of this machine, and the proxy that docker info shows'
        ;;
    *"x509:"* | *CERTIFICATE_VERIFY_FAILED*) printf 'check the clock and the CA certificates of this machine: it does not trust the certificate of the server that answered' ;;
    *docker-init*) printf "install the missing docker-init: Docker's own packages (docs.docker.com/engine/install), or on Debian and Ubuntu: sudo apt install --reinstall docker.io" ;;
    *"already in use"* | *"already allocated"*) printf 'free that port, or set another one in .env' ;;
    *"o space left"*) printf '%s' "$FREE_DISK" ;;
    *"pull access denied"* | *"manifest unknown"* | *"not found: manifest"* | *"no matching manifest"*) printf 'correct the name of the image in the Compose files (docker-compose.override.yml)' ;;
    *"invalid mount"* | *"bind source path"* | *"mounts denied"*) printf 'create that folder, or share it with Docker' ;;
    esac
}

build_hint() { # build_hint CAUSE: what is usually missing; empty if that is not known
    case $1 in
    *pg_config* | *libpq-fe.h*) printf 'require psycopg[binary] or psycopg2-binary, or set APT_PACKAGES=libpq5 and APT_BUILD_PACKAGES="gcc libc6-dev libpq-dev" in .env' ;;
    *Python.h*) printf 'set APT_BUILD_PACKAGES="gcc libc6-dev python3-dev" in .env, or require a version that has a wheel' ;;
    *.h:*"No such file"*) printf 'set APT_BUILD_PACKAGES in .env to "gcc libc6-dev" and the package that provides that header' ;;
    *"command 'gcc' failed"* | *"command 'cc' failed"* | *"command 'x86_64-linux-gnu-gcc'"* | *"gcc: not found"*) printf 'set APT_BUILD_PACKAGES="gcc libc6-dev" in .env, or require a version that has a wheel' ;;
    # pip asks, and nobody is there to answer.
    *"EOFError: EOF when reading"* | *"could not read Username"* | *"Authentication failed"*)
        printf 'give the build a login in .netrc ("A private package index, and private repositories" in docs/additions.md), or correct the login that is there'
        ;;
    *python:*": not found") printf 'set web/.python-version to a version that Docker Hub has an image of, or correct PYTHON_IMAGE in .env' ;;
    *) engine_hint "$1" ;;
    esac
}
