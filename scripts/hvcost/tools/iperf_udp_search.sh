# Search for the highest rate of datagrams that arrives, one trial after the other, on the client.
#
# Arguments: address, bytes of a message, seconds of a trial, number of trials, lowest and highest rate in 1/s,
# losses per million that are allowed, seconds in which a busy system is itself again. Each trial is a line
# `@trial RATE`, what iperf says, and a line `@exit STATUS`; the last line is `@end`. What the search decides by
# is told anew from both ends' outputs where they are read, by the same rules: `_searched` in
# iperf_udp_search.py.

export LC_ALL=C
address=$1 bytes=$2 seconds=$3 trials=$4 low=$5 high=$6 per_million=$7 patience=$8
done=0

# Run a trial at a rate; its verdict is pass, loss, slow, or unheard if the client was told no losses; nothing
# if it was none.
trial() {
    # A server is still with the client before for a quarter of a second, and iperf 2.1.8 dies of another one.
    [ "$done" = 0 ] || sleep 1
    done=$((done + 1))
    echo "@trial $1"
    said=$(iperf -c "$address" -u -e -l "$bytes" -b "$1pps" -t "$seconds")
    status=$?
    printf '%s\n@exit %s\n' "$said" "$status"
    verdict=$(printf '%s\n' "$said" | awk -v rate="$1" -v per_million="$per_million" '
        / Server Report:$/ { relayed = 1 }
        !relayed && / sec .* pps$/ {
            for (i = 1; i <= NF; i++) if ($i == "sec") { split($(i - 1), times, "-"); second = times[2] }
            for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\/[0-9]+(\/[0-9]+)?$/) split($i, writes, "/")
        }
        / Sent [0-9]+ datagrams$/ { numbered = $(NF - 1) }
        relayed && / ms [0-9]+\/[0-9]+ \(/ {
            for (i = 1; i < NF; i++) if ($i == "ms" && $(i + 1) ~ /^[0-9]+\/[0-9]+$/) split($(i + 1), counts, "/")
        }
        END {
            if (!numbered) exit
            if (!relayed) { print "unheard"; exit }
            if (!counts[2]) exit
            repeated = counts[2] - (numbered - 1)
            lost = counts[1] - repeated
            total = counts[2] - repeated
            ordered = rate * second
            apart = writes[1] - ordered
            if (apart < 0) apart = -apart
            tolerance = 0.02 * ordered
            if (tolerance < 3) tolerance = 3
            if (lost * 1000000 > per_million * total) print "loss"
            else if (writes[2] > 0 || apart > tolerance) print "slow"
            else print "pass"
        }')
    # What is late has to arrive first: an echo comes after it. Then the system is let alone (RFC 2544, 23 e).
    [ "$verdict" != unheard ] || { ping -q -c 1 -w "$patience" "$address" >/dev/null; sleep 5; }
    [ -n "$verdict" ]
}

search() {
    trial "$high" || return
    [ "$verdict" != pass ] || return
    trial "$low" || return
    [ "$verdict" = pass ] || return
    while [ "$done" -lt "$trials" ] && [ $((high - low)) -gt 1 ]; do
        middle=$(awk -v low="$low" -v high="$high" 'BEGIN { printf "%d", sqrt(low * high) }')
        [ "$middle" -gt "$low" ] || middle=$((low + 1))
        trial "$middle" || return
        if [ "$verdict" = pass ]; then low=$middle; else high=$middle; fi
    done
}

search
echo "@end"
