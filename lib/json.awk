# lib/json.awk: facts (lib/facts.sh) as one JSON document.
# usage: awk -f lib/json.awk

BEGIN { FS = "\t"; open = 0 }

{
    depth = split($2, part, ".")
    for (same = 0; same < open && same < depth - 1 && part[same + 1] == at[same + 1]; same++) { }
    while (open > same) close_one()
    while (open < depth - 1) {
        name(part[open + 1])
        open++ # on a line of its own: each awk takes the sides of an assignment in another order
        at[open] = part[open]
        is_list[open] = part[open + 1] ~ /^[0-9]+$/
        printf "%s", is_list[open] ? "[" : "{"
        count[open] = 0
    }
    name(part[depth])
    if ($1 == "number") printf "%s", $3
    else if ($1 == "empty") printf "null"
    else if ($1 == "list") printf "[]"
    else printf "\"%s\"", escaped($3)
}

END {
    while (open > 0) close_one()
    print (NR ? "" : "{") "}"
}

function name(key) {
    printf "%s", count[open]++ ? ", " : open ? "" : "{"
    if (!(open && is_list[open])) printf "\"%s\": ", escaped(key)
}

function close_one() {
    printf "%s", is_list[open] ? "]" : "}"
    open--
}

function escaped(text) {
    gsub(/[\001-\037\177]/, " ", text)
    return put_before("\"", put_before("\\", text))
}

function put_before(what, text,    found, done) { # a backslash; gsub does that in another way in each awk
    while (found = index(text, what)) {
        done = done substr(text, 1, found - 1) "\\" what
        text = substr(text, found + 1)
    }
    return done text
}
