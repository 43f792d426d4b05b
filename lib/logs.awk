# lib/logs.awk: the site's JSON log lines as a person reads them; every other line as it is.
# usage: docker compose logs | LC_ALL=C awk [-v json=yes] -f lib/logs.awk
#
# With json=yes every line is as it was written. Compose 2.26 begins each line with the code that clears it, also in a pipe.
# That is left out.
#
# What a client sent cannot begin a line of its own, nor reach the terminal as an escape: further lines of a text are
# indented, and control characters stay as JSON writes them.

BEGIN {
    STRING = "^\"([^\"\\\\]|\\\\.)*\""
    for (i = 0; i < 10; i++) digit[i ""] = i
    for (i = 0; i < 6; i++) digit[substr("abcdef", i + 1, 1)] = digit[substr("ABCDEF", i + 1, 1)] = 10 + i
}

function hexadecimal(word,    i, value) {
    for (i = 1; i <= 4; i++) value = value * 16 + digit[substr(word, i, 1)]
    return value + 0
}

function utf8(code) {
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    if (code < 65536) return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
    return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, 128 + int(code / 64) % 64, 128 + code % 64)
}

# The text of a JSON string, without its quotes.
function decoded(word,    out, at, sign, code, low) {
    out = ""
    while ((at = index(word, "\\")) > 0) {
        out = out substr(word, 1, at - 1)
        sign = substr(word, at + 1, 1)
        low = 0
        if (sign == "n") out = out "\n"
        else if (sign == "t") out = out "\t"
        else if (sign == "\"" || sign == "/") out = out sign
        else if (sign == "\\") out = out "\\"
        else if (sign == "u") {
            code = hexadecimal(substr(word, at + 2, 4))
            if (code >= 55296 && code < 56320 && substr(word, at + 6, 2) == "\\u") {
                low = hexadecimal(substr(word, at + 8, 4))
                code = 65536 + (code - 55296) * 1024 + low - 56320
            }
            out = out (code < 160 || (code >= 55296 && code < 57344) ? substr(word, at, 6) : utf8(code))
        } else out = out substr(word, at, 2)
        word = substr(word, at + (sign == "u" ? (low ? 12 : 6) : 2))
    }
    return out word
}

# Its further lines below it, in the same container's column.
function below(prefix, text) {
    gsub(/\n/, "\n" prefix "    ", text)
    return text
}

# Of an object or a list that the text begins with, its text; empty if it has no end.
function nested(text,    at, depth, sign) {
    for (at = 1; at <= length(text); at += RLENGTH) {
        if (match(substr(text, at), STRING) || match(substr(text, at), /^[^]["{}]+/)) continue
        sign = substr(text, at, 1)
        RLENGTH = 1
        if (sign == "{" || sign == "[") depth++
        else if (sign == "\"" || --depth == 0) return sign == "\"" ? "" : substr(text, 1, at)
    }
    return ""
}

function tell(prefix, line,    rest, key, value, extra, trace, when, raw) {
    rest = substr(line, 2)
    split("", field)
    extra = trace = ""
    while (match(rest, STRING)) {
        key = substr(rest, 2, RLENGTH - 2)
        rest = substr(rest, RLENGTH + 1)
        sub(/^: */, "", rest)
        if (match(rest, STRING)) raw = substr(rest, 1, RLENGTH)
        else if (match(rest, /^[^,{}\[]+/)) raw = substr(rest, 1, RLENGTH)
        else if ((raw = nested(rest)) == "") return 0
        value = raw ~ /^"/ ? decoded(substr(raw, 2, length(raw) - 2)) : raw
        rest = substr(rest, length(raw) + 1)
        sub(/^, */, "", rest)
        field[key] = value
        if (key == "exception" || key == "stack") trace = trace "\n" value
        # Of a request, what its line does not say already; the rest is in --json.
        else if (key !~ /^(time|level|logger|message|method|path|status|status_code|bytes|host|referer|agent)$/ && value != "")
            extra = extra " " key "=" value
    }
    if (rest != "}" || !("message" in field)) return 0
    # What Celery adds, its message says already.
    if (field["logger"] ~ /^celery\./ && ("data" in field)) extra = ""
    when = substr(field["time"], 1, 19)
    sub(/T/, " ", when)
    sub(/\n$/, "", trace)
    print prefix below(prefix, when " " field["level"] " " field["logger"] ": " field["message"] extra trace)
    return 1
}

{
    sub(/^\033\[2K/, "")
    if (json) { print; fflush(); next }
    at = index($0, "{\"time\": \"")
    if (!at) at = match($0, /\{"[a-z_]+": .*"logger": "/)
    if (!at || !tell(substr($0, 1, at - 1), substr($0, at))) print
    fflush()
}
