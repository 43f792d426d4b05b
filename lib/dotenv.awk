# lib/dotenv.awk: an .env file as lines that a shell can read, one for each key:
#     key NUMBER NAME [VALUE]        the brackets keep the spaces at both ends; a line end in VALUE is the character 1
#     bad NUMBER WHAT [REMEDY]       the line cannot be read as Compose would read it
# The grammar is the part of Compose's (docs: "Syntax for environment variables file") in which nothing is
# interpolated or escaped, so that this kit, Compose and python-dotenv read the same value.

function bad(what, remedy) {
    out[at] = sprintf("bad %d %s [%s]", at, what, remedy)
}

# A value in quotes may go over several lines, as a private key does. Sets `last` to its last line; 0 if it has no end.
function in_quotes(value, quote,    end) {
    value = substr(value, 2)
    for (last = at; ; ) {
        end = index(value, quote)
        if (end) {
            rest = substr(value, end + 1)
            return substr(value, 1, end - 1)
        }
        if (++last > NR) break
        value = value "\001" line[last]
    }
    last = 0
    return ""
}

function parse(text,    name, value, quote) {
    sub(/\r+$/, "", text)
    sub(/^[ \t]+/, "", text)
    sub(/^export[ \t]+/, "", text)
    if (text == "" || text ~ /^#/) return
    if (text !~ /^[A-Za-z_][A-Za-z0-9_]*=/) {
        bad("-", "write it as KEY=VALUE (letters, digits and _, no space before the =), or put a # before it; quote a value of several lines: KEY='...'")
        return
    }
    name = text
    sub(/=.*/, "", name)
    value = substr(text, length(name) + 2)
    # Compose and python-dotenv do not agree on where these comments begin.
    if (value ~ /^[ \t]+#/ || value ~ /^[^'"]/ && match(value, /[ \t]#/) && substr(value, RSTART, 1) == "\t") {
        bad(name, "put one space before the # of a comment, or quote the value: " name "='...'")
        return
    }
    sub(/^[ \t]+/, "", value)
    quote = substr(value, 1, 1)
    if (quote == "'" || quote == "\"") {
        value = in_quotes(value, quote)
        sub(/\r+$/, "", rest)
        if (!last || rest !~ /^[ \t]*(#.*)?$/) {
            bad(name, "write " name "='...': its quotes do not match")
            return
        }
        if (value ~ /\r/ || last > at && line[at] ~ /\r$/) {
            bad(name, "save .env with LF line endings: Compose and python-dotenv read a value with CRLF (Windows) differently")
            return
        }
    } else {
        last = at
        sub(/[ \t]+#.*/, "", value)
        sub(/[ \t]+$/, "", value)
    }
    if (quote != "'" && value ~ /[$\\]/) {
        bad(name, "write " name "='...': Compose would take its $ or \\ for a variable or an escape")
        return
    }
    if (value ~ /\\\\|\\$|\\\001/) {
        bad(name, "choose another value: Compose and python-dotenv read two \\ in a row, or one at the end of a line, differently")
        return
    }
    if (value ~ /[$][{]/) {
        bad(name, "choose another value: python-dotenv takes ${ for a variable, even in quotes")
        return
    }
    # Of two lines with the same key the last one counts.
    if (name in line_of) delete out[line_of[name]]
    line_of[name] = at
    out[at] = sprintf("key %d %s [%s]", at, name, value)
    next_line = last + 1
}

BEGIN { mark = "\357\273\277" } # what editors on Windows put before UTF-8

{ line[NR] = $0 }

NR == 1 && index($0, mark) == 1 { line[1] = substr($0, length(mark) + 1) }

END {
    for (at = 1; at <= NR; at = next_line) {
        next_line = at + 1
        parse(line[at])
    }
    for (i = 1; i <= NR; i++)
        if (i in out) print out[i]
}
