# lib/dotenv.awk: an .env file as lines that a shell can read, one for each key:
#     key NUMBER NAME [VALUE]        the brackets keep the spaces at both ends
#     bad NUMBER WHAT [REMEDY]       the line cannot be read as Compose would read it
# The grammar is the part of Compose's (docs: "Syntax for environment variables file") in which nothing is
# interpolated or escaped, so that this kit, Compose and python-dotenv read the same value.

function bad(what, remedy) {
    line[NR] = sprintf("bad %d %s [%s]", NR, what, remedy)
}

{
    sub(/\r+$/, "")
    sub(/^[ \t]+/, "")
    sub(/^export[ \t]+/, "")
}

/^$/ || /^#/ { next }

!/^[A-Za-z_][A-Za-z0-9_]*=/ {
    bad("it_is_not_KEY=VALUE", "write it as KEY=VALUE (letters, digits and _, no space before the =), or put a # before it")
    next
}

{
    name = $0
    sub(/=.*/, "", name)
    value = substr($0, length(name) + 2)
    # Compose and python-dotenv do not agree on where these comments begin.
    if (value ~ /^[ \t]+#/ || value ~ /^[^'"]/ && match(value, /[ \t]#/) && substr(value, RSTART, 1) == "\t") {
        bad(name, "put one space before the # of a comment, or the value in quotes: " name "='...'")
        next
    }
    sub(/^[ \t]+/, "", value)
    quote = substr(value, 1, 1)
    if (quote == "'" || quote == "\"") {
        end = index(substr(value, 2), quote)
        rest = substr(value, end + 2)
        if (end == 0 || rest !~ /^[ \t]*(#.*)?$/) {
            bad(name, "its quotes do not match: write " name "='...'")
            next
        }
        value = substr(value, 2, end - 1)
    } else {
        sub(/[ \t]+#.*/, "", value)
        sub(/[ \t]+$/, "", value)
    }
    if (quote != "'" && value ~ /[$\\]/) {
        bad(name, "it holds a $ or a \\, which Compose would take for a variable or an escape: write " name "='...'")
        next
    }
    if (value ~ /\\\\|\\$/) {
        bad(name, "it holds two \\ in a row or one at its end, which are read in more than one way: choose another value")
        next
    }
    if (value ~ /[$][{]/) {
        bad(name, "it holds ${, which python-dotenv would take for a variable even in quotes: choose another value")
        next
    }
    # Of two lines with the same key the last one counts.
    if (name in line_of) delete line[line_of[name]]
    line_of[name] = NR
    line[NR] = sprintf("key %d %s [%s]", NR, name, value)
}

END {
    for (i = 1; i <= NR; i++)
        if (i in line) print line[i]
}
