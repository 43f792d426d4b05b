# lib/address.awk: an IP address in its one canonical form (RFC 5952), in which Caddy writes who asks; nothing for what is no
# address. Not by getent, which knows no IPv6 on a machine that has none, where a proxy in front may still name such visitors.

function hexadecimal(text, at, value) {
    for (at = 1; at <= length(text); at++) value = 16 * value + index("0123456789abcdef", substr(text, at, 1)) - 1
    return value + 0
}

function is_ipv4(text, byte, at) {
    if (split(text, byte, ".") != 4) return 0
    for (at = 1; at <= 4; at++) if (byte[at] !~ /^[0-9]+$/ || decimal(byte[at]) > 255) return 0
    return 1
}

# Without zeros in front, with which BusyBox would take it for octal.
function decimal(text) {
    sub(/^0+/, "", text)
    return text + 0
}

function ipv4(text, byte) {
    split(text, byte, ".")
    return decimal(byte[1]) "." decimal(byte[2]) "." decimal(byte[3]) "." decimal(byte[4])
}

# group[1..8] of an address in which :: stands for as many zeros as are missing.
function expand(text, half, left, right, halves, before, after, at) {
    halves = split(text, half, "::")
    before = split(half[1], left, ":")
    after = halves == 2 ? split(half[2], right, ":") : 0
    if (halves > 2 || (halves == 1 && before != 8) || (halves == 2 && before + after > 7)) return 0
    for (at = 1; at <= 8; at++) {
        group[at] = at <= before ? left[at] : at > 8 - after ? right[at - 8 + after] : "0"
        if (group[at] !~ /^[0-9a-f]+$/ || length(group[at]) > 4) return 0
        sub(/^0+/, "", group[at])
        if (group[at] == "") group[at] = "0"
    }
    return 1
}

# With :: for the first of its longest runs of zeros, if that is of two or more.
function shortened(at, from, count, most, first, text) {
    for (at = 1; at <= 8; at += count > 0 ? count : 1) {
        for (count = 0; at + count <= 8 && group[at + count] == "0"; count++);
        if (count > 1 && count > most) {
            most = count
            first = at
        }
    }
    for (at = 1; at <= 8; at++) {
        if (most && at >= first && at < first + most) {
            if (at == first) text = text "::"
        } else text = text (text == "" || text ~ /::$/ ? "" : ":") group[at]
    }
    return text
}

!/:/ {
    if (is_ipv4($0)) print ipv4($0)
    exit
}

{
    address = tolower($0)
    tail = address
    sub(/.*:/, "", tail)
    if (tail ~ /\./) {
        if (!is_ipv4(tail)) exit
        split(tail, byte, ".")
        address = substr(address, 1, length(address) - length(tail)) sprintf("%x:%x", 256 * decimal(byte[1]) + decimal(byte[2]), 256 * decimal(byte[3]) + decimal(byte[4]))
    }
    if (!expand(address)) exit
    # An IPv4 address in the clothes of IPv6 is that address.
    if (group[1] group[2] group[3] group[4] group[5] group[6] == "00000ffff")
        print int(hexadecimal(group[7]) / 256) "." hexadecimal(group[7]) % 256 "." int(hexadecimal(group[8]) / 256) "." hexadecimal(group[8]) % 256
    else print shortened()
}
