# lib/certificate.awk: until when a certificate is good. In: its bytes as hexadecimal digits, in one line. Out: the days
# left from TODAY (YYYYMMDD, in UTC), 0 on the last one; nothing where there is no certificate.
#
# Validity ::= SEQUENCE { notBefore, notAfter } (RFC 5280, 4.1.2.5): 30 and its length, then twice 17 0d and YYMMDDHHMMSSZ
# in ASCII, or from 2050 on 18 0f and YYYYMMDDHHMMSSZ.

function digits(hex,    text) { # 3235 is "25"
    while (hex != "") {
        text = text substr(hex, 2, 1)
        hex = substr(hex, 3)
    }
    return text
}

function day_number(date,    y, m, d) { # of YYYYMMDD, from a day long ago
    date = substr(date, 1, 8)
    y = int(date / 10000)
    m = int(date / 100) % 100
    d = date % 100
    if (m < 3) {
        m += 12
        y--
    }
    return 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * m - 457) / 5) + d
}

function digit_bytes(count,    text) {
    while (count-- > 0) text = text "3[0-9]"
    return text
}

{
    time = "(170d" digit_bytes(12) "|180f" digit_bytes(14) ")5a"
    if (!match($0, "30(1e|20|22)" time time)) next
    after = substr($0, RSTART, RLENGTH - 2)
    short = substr(after, length(after) - 27, 4) == "170d"
    after = digits(substr(after, length(after) - (short ? 23 : 27)))
    print day_number(short ? "20" after : after) - day_number(TODAY)
    exit
}
