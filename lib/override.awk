# lib/override.awk: what docker-compose.override.yml adds to the kit, and what it cannot.
# usage: docker compose -f docker-compose.override.yml config ... | awk -v mode=prod|dev -v kit=" SERVICE... " \
#            -v image=PREFIX -v on=,PROFILE,... -f lib/override.awk
#
# Prints a line for each fact:
#     bad WHAT [REMEDY]       it cannot be so
#     web                     it has something for the site
#     web-ports               ... and ports of it
#     media PATH              ... and a mount whose name says that uploads are in it, without a MEDIA_ROOT
#     early NAME              a service of its own, which starts with the database
#     late NAME               the same, of the site's own image (PREFIX): it starts when the database is prepared
#     manual NAME             a service of its own with a profile that is not on, which the user starts and stops
# What it reads was written by Compose itself: services are indented by 2, their keys by 4.

function bad(what, remedy) {
    printf "bad %s [%s]\n", what, remedy
}

function own() {
    return index(kit, " " service " ") == 0
}

function end_of_service() {
    if (service == "web" && media != "" && !has_media_root) print "media", media
    if (service != "" && own()) print (has_profile ? "manual" : is_site ? "late" : "early"), service
    service = ""
    has_profile = is_site = in_profiles = 0
}

/^[^ ]/ {
    end_of_service()
    in_services = $0 == "services:"
    next
}

!in_services { next }

/^  [^ ]/ {
    end_of_service()
    service = $1
    sub(/:$/, "", service)
    gsub(/"/, "", service)
    key = ""
    if (service == "web") print "web"
    if (mode == "prod" && service == "copy")
        bad("changes copy, which only rehearsals use", "remove copy from the file")
    next
}

# One of its profiles is on (COMPOSE_PROFILES): it starts as if it had none.
in_profiles && /^      - / {
    profile = $2
    gsub(/"/, "", profile)
    if (index(on, "," profile ",")) has_profile = 0
}

service == "web" && key == "volumes" && $1 == "target:" && $2 ~ /(media|uploads|mediafiles)$/ { media = $2 }
service == "web" && key == "environment" && $1 == "MEDIA_ROOT:" { has_media_root = 1 }

/^    [^ ]/ {
    in_profiles = 0
    key = $1
    sub(/:$/, "", key)
    if (mode == "prod" && service ~ /-(blue|green)$/ && !own() && key != "ports")
        bad("changes " key " of " service " alone, but both colors must be the same", "write it under web, which covers both of them and the one-off commands")
    if (key == "profiles") {
        has_profile = in_profiles = 1
        if (!own()) bad("gives " service " a profile, so it would not start", "remove profiles from " service)
    }
    if (own() && key == "image" && index($2, image) == 1) is_site = 1
    if (service == "web" && key == "image")
        bad("gives web another image, but run.sh builds and tags that image", "remove image from web; for Debian packages, set APT_PACKAGES in .env")
    if (service == "web" && key ~ /^(container_name|network_mode)$/)
        bad("gives web a " key ", but web runs as several containers", "remove " key " from web")
    if (service == "web" && key == "ports" && mode == "prod") print "web-ports"
    if (service == "db" && key == "ports" && mode == "prod")
        bad("publishes ports of db, which production's internal network does not allow", "remove ports from db and set PROD_DB_PORT in .env, which listens only on 127.0.0.1")
}

END { end_of_service() }
