# lib/build-cache.awk: which records of Docker's build cache come from this kit's Dockerfile.
# usage: docker buildx du --verbose | awk -v want=replaced|others -f lib/build-cache.awk
#
# Prints INSTRUCTION, TIME and ID of each that no image has, with tabs between them. replaced: what every change in web/ makes
# anew; others: the kit's and those of the requirements.

BEGIN { FS = ":\t+" }

$1 == "ID" { id = $2 }
$1 == "Created at" { created = $2 }
$1 == "Shared" { shared = $2 }
$1 == "Description" {
    made_by = $0
    sub(/^Description:\t+/, "", made_by)
    # The stage and the number of the step in it, before them a platform, if the build is for several. A RUN has none.
    stage = match(made_by, /^\[[^]]* [0-9]+\/[0-9]+\] /) ? substr(made_by, 2, RLENGTH) : ""
    made_by = substr(made_by, stage == "" ? 1 : RLENGTH + 1)
    sub(/ [0-9]+\/[0-9]+\].*/, "", stage)
    sub(/.* /, "", stage)
}
$1 == "Type" && $2 == "regular" && shared == "false" {
    replaced = stage == "project" && made_by ~ /^COPY web\/ \.\/$/ || made_by ~ / sh \/image\/collect\.sh \/opt\/kit\// ||
        stage == "production" && made_by ~ /^COPY --from=project \/(app|opt\/kit) /
    other = made_by ~ / sh \/image\/install\.sh (development|production)$/ ||
        stage ~ /^(project|production|development)$/ && made_by ~ /^COPY --from=(requirements-[a-z]+ \/venv|kit \/opt\/kit) /
    if (want == "replaced" ? replaced : other) print made_by "\t" created "\t" id
}
