# lib/requires-python.awk: prints what requires-python of a pyproject.toml says, if it excludes a version of Python.
# usage: awk -v version=3.13 -f lib/requires-python.awk web/pyproject.toml
#
# Of a version the first two numbers count: which patch level an image has, its name need not tell.

function excludes(clause,    operator, wanted, w, order) {
    match(clause, /^[<>=!~]+/)
    operator = substr(clause, 1, RLENGTH)
    wanted = substr(clause, RLENGTH + 1)
    if (RLENGTH < 1 || wanted !~ /^[0-9]/) return 0
    parts = split(wanted, w, ".")
    order = have[1] != w[1] + 0 ? have[1] - w[1] : (parts < 2 || w[2] == "*" ? 0 : have[2] - w[2])
    if (operator == ">=" || operator == ">") return order < 0
    if (operator == "<") return order > 0 || order == 0 && (parts < 3 || w[3] + 0 == 0)
    if (operator == "<=") return order > 0
    if (operator == "==" || operator == "===") return order != 0
    if (operator == "!=") return order == 0 && (parts < 3 || w[3] == "*")
    if (operator == "~=") return parts < 3 ? have[1] != w[1] + 0 || order < 0 : order != 0
    return 0
}

BEGIN {
    split(version, numbers, ".")
    have[1] = numbers[1] + 0
    have[2] = numbers[2] + 0
}

version != "" && /^[ \t]*requires-python[ \t]*=/ {
    sub(/^[^=]*=[ \t]*/, "")
    quote_mark = substr($0, 1, 1)
    told = substr($0, 2)
    told = substr(told, 1, index(told, quote_mark) - 1)
    all = told
    gsub(/[ \t]/, "", told)
    count = split(told, clauses, ",")
    for (i = 1; i <= count; i++) if (excludes(clauses[i])) found = 1
    if (found) print all
    exit
}
