# lib/sentences.awk: lines of a text that was cut at the margin, put together again; so each can be translated as a whole.
# usage: awk -f lib/sentences.awk
#
# A line is put behind the one before it, unless that one ends with a full stop, or either is empty, indented or a usage.

function apart(line) {
    return line == "" || line ~ /^ / || line ~ /^usage: /
}

NR > 1 && !apart($0) && !apart(before) && before !~ /\.$/ { printf " %s", $0; before = $0; next }
{ printf "%s%s", (NR > 1 ? "\n" : ""), $0; before = $0 }
END { if (NR) print "" }
