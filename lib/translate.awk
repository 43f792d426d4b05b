# lib/translate.awk: lines of English on standard input in another language; a line that the catalogue lacks stays as it is.
# usage: LC_ALL=C awk -f lib/translate.awk lib/messages.pt_BR -
#
# The catalogue has pairs of lines, and an empty line between two pairs. The first line of a pair is the English message,
# with %s for each value in it. The second is the translation: %1 is the first value as it is, and &1 is that value
# translated too, for messages that are made of parts. Of all ways to read a line as a message, the one that knows most
# of its characters counts.

# Whether TEXT is the message ENGLISH; `value` then has what stands for each %s.
function fits(text, english, value,    parts, part, i, at) {
    parts = split(english, part, /%s/)
    if (substr(text, 1, length(part[1])) != part[1]) return 0
    text = substr(text, length(part[1]) + 1)
    for (i = 2; i <= parts; i++) {
        at = i < parts ? index(text, part[i]) : length(text) - length(part[i]) + 1
        if (at < 1 || substr(text, at, length(part[i])) != part[i]) return 0
        value[i - 1] = substr(text, 1, at - 1)
        text = substr(text, at + length(part[i]))
    }
    return text == ""
}

# The translation; `known` is how many characters of TEXT it knows.
function translated(text,    i, at, rest, out, score, best, most, value) {
    best = text
    for (i = 1; i <= count; i++) {
        if (!fits(text, message[i], value)) continue
        score = literal[i]
        out = ""
        for (rest = translation[i]; at = match(rest, /[%&][1-9]/); rest = substr(rest, at + 2)) {
            out = out substr(rest, 1, at - 1)
            if (substr(rest, at, 1) == "&") {
                out = out translated(value[substr(rest, at + 1, 1)])
                score += known
            } else out = out value[substr(rest, at + 1, 1)]
        }
        if (score > most) {
            most = score
            best = out rest
        }
    }
    known = most + 0
    return best
}

NR != FNR { print translated($0); next }

/^#/ { next }
$0 == "" { english = ""; next }
english == "" { english = $0; next }
{
    message[++count] = english
    translation[count] = $0
    gsub(/%s/, "", english)
    literal[count] = length(english)
}
