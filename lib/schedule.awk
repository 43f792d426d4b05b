# lib/schedule.awk: which jobs are due.
# usage: awk -F '\t' -v now="SECONDS YYYY-MM-DD HH:MM" -f lib/schedule.awk
#
# A line is a job: NAME, WHEN and COUNTED, with tabs between them; it prints the NAME if the job is due. SECONDS are those
# since 1970, and date and time are the machine's own. COUNTED is a time in the form of `now`: the job is due if a time that
# WHEN names lies behind it. However many they are, it is due once.
# What repeats within a day is counted in seconds, and what names a time in the machine's minutes: so nothing runs twice when
# the clocks go back.

function days(date,    part, year, month) { # since 0000-03-01, a Wednesday
    split(date, part, "-")
    month = part[2] > 2 ? part[2] - 3 : part[2] + 9
    year = part[1] - (part[2] <= 2)
    return 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * month + 2) / 5) + part[3] - 1
}

function minutes(clock,    part) {
    split(clock, part, ":")
    return part[1] * 60 + part[2]
}

# The last time that is not after `now`: in seconds, or else in minutes.
function last_time(word, count,    step, at, day) {
    if (word[1] == "hourly") return in_seconds(3600)
    if (word[1] == "every") return in_seconds(word[2] * (word[2] ~ /m$/ ? 60 : 3600))
    step = 1440
    at = count > 1 && word[count] ~ /:/ ? minutes(word[count]) : 0
    if (word[1] == "weekly") {
        step *= 7
        day = word[2] in weekday ? weekday[word[2]] : weekday["mon"]
        at += day * 1440
    }
    return int((now_minute - at) / step) * step + at
}

function in_seconds(step) {
    by_seconds = 1
    return int(now_second / step) * step
}

BEGIN {
    split("wed thu fri sat sun mon tue", names, " ")
    for (i = 1; i <= 7; i++) weekday[names[i]] = i - 1
    split(now, part, " ")
    now_second = part[1]
    now_minute = days(part[2]) * 1440 + minutes(part[3])
}

{
    by_seconds = 0
    words = split($2, word, " ")
    last = last_time(word, words)
    split($3, counted, " ")
    # Counted in the future: the clock was wrong then.
    if (counted[1] > now_second + 86400 || last > (by_seconds ? counted[1] + 0 : days(counted[2]) * 1440 + minutes(counted[3]))) print $1
}
