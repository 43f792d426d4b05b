# lib/uploads.awk: whether a list of `tar -tv`, and after it "whole", is of uploads. Prints what is not, and exits with 1 then.

# A link in the folder ./a/b leads to its own folder, or up, as often as that is deep, or to a path of the volume.
function leads_out(line,    name, target, depth) {
    target = line
    sub(/.* -> /, "", target)
    name = substr(line, index(line, " ./") + 3)
    sub(/ -> .*/, "", name)
    if (target ~ /^\//) return target !~ /^\/files\// || target ~ /\.\./
    depth = gsub(/\//, "", name)
    return gsub(/\.\./, "", target) > depth
}

$0 == "whole" { whole = 1; next }
!/^[-dhl]/ || $6 !~ /^\.\// || (/^l/ && leads_out($0)) { print; foreign = 1 }
END { exit !(whole && NR > 1 && !foreign) }
