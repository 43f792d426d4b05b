# lib/nearest.awk: of the words on standard input, the one nearest to WORD (Levenshtein distance), with the distance.
# usage: printf '%s\n' KNOWN... | awk -v word=WORD -f lib/nearest.awk     prints: DISTANCE KNOWN

function distance(a, b, i, j, cost, row, previous, la, lb) {
    la = length(a)
    lb = length(b)
    for (j = 0; j <= lb; j++) previous[j] = j
    for (i = 1; i <= la; i++) {
        row[0] = i
        for (j = 1; j <= lb; j++) {
            cost = substr(a, i, 1) == substr(b, j, 1) ? 0 : 1
            row[j] = minimum(previous[j] + 1, minimum(row[j - 1] + 1, previous[j - 1] + cost))
        }
        for (j = 0; j <= lb; j++) previous[j] = row[j]
    }
    return previous[lb]
}

function minimum(x, y) {
    return x < y ? x : y
}

BEGIN { best = 1000 }

{
    d = distance(word, $0)
    if (d < best) {
        best = d
        name = $0
    }
}

END { if (name != "") print best, name }
