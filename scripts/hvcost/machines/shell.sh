# A shell that stays on a machine for a session and answers one line of its standard input after the other.
#
# A request is a line `NUMBER COMMAND`; the answer is what the command prints, and then the line `@NUMBER STATUS`.
# Empty lines are nothing. What is asked around every run is answered without starting a program: that takes a
# good part of a second where the processor is translated twice. EPOCHREALTIME is a variable of bash and of
# BusyBox's shell.

exec 2>&1
export LC_ALL=C
[ -n "${EPOCHREALTIME-}" ] || { echo "its shell has no clock: install bash there"; exit 1; }

# The clock of the day, the uptime, and the clock of the day once more, until all three were read within 20 ms.
clocks() {
    tries=0
    while [ "$tries" -lt 50 ]; do
        tries=$((tries + 1)) from=$EPOCHREALTIME
        read -r up _ </proc/uptime
        to=$EPOCHREALTIME
        echo "clocks $from $up $to"
        [ $((${to%.*}${to#*.} - ${from%.*}${from#*.})) -gt 20000 ] || break
    done
}

# What an interface counts and runs at. What a card does not tell (its speed without carrier, or at all) is left out.
card() {
    for fact in statistics/rx_bytes statistics/tx_bytes speed duplex; do
        ! read -r value 2>/dev/null <"/sys/class/net/$1/$fact" || echo "${fact##*/} $value"
    done
}

# How often TCP has sent a segment again since the boot, in the shell's network namespace: name and value of the
# twelfth column of /proc/net/snmp's lines of TCP. BusyBox's shell reads the thousand bytes up to there one by one.
resent() {
    [ ! -r /proc/net/snmp ] || while read -r protocol _ _ _ _ _ _ _ _ _ _ _ column _; do
        [ "$protocol" != Tcp: ] || echo "Tcp: $column"
        case $protocol$column in Tcp:[0-9]*) break ;; esac
    done </proc/net/snmp
}

# Whether somebody listens at a TCP port, or has bound a UDP port, in hexadecimal. Listening sockets have the
# state 0A in /proc/net/tcp, bound ones 07 in /proc/net/udp, and 01 if they are for one client (proc(5)).
is_taken() {
    case $1 in tcp) wanted=0A ;; udp) wanted=07 ;; esac
    is_there "$1" "$2" "$wanted"
}

is_there() {
    for table in "/proc/net/$1" "/proc/net/${1}6"; do
        [ ! -r "$table" ] || while read -r _ local _ state _; do
            case $local-$state in *":$2-$3") return 0 ;; esac
            # Of TCP's sockets those that listen come first. Thousands of closed ones may follow.
            case $1-$state in tcp-st | tcp-0A) ;; tcp-*) break ;; esac
        done <"$table"
    done
    return 1
}

# Wait until a server at a UDP port has let the client before go: one that comes too early is the end of iperf 2.1.8.
let_go() {
    tries=0
    while is_there udp "$1" 01; do
        [ "$tries" -lt 100 ] || { echo "it does not let the client before go"; return 1; }
        tries=$((tries + 1))
        sleep 0.1
    done
}

# Whether the process of a folder runs.
is_running() {
    read -r pid 2>/dev/null <"$1/pid" && kill -0 "$pid" 2>/dev/null
}

# Whether a folder has room for a run's output, which on a full disk would be lost without a word.
room() {
    printf '%65536s' '' 2>/dev/null >"$1/room" || { echo "there is no room for its output in $1"; return 1; }
    printf '' >"$1/room"
}

# Start a process in the background, whose outputs are then open at two descriptors, and wait until it is ready.
# Arguments: these, folder, tcp, udp or none, port, limit in s, command.
started=''
start() {
    out=$1 err=$2 folder=$3
    shift 2
    launch "$@" || return 1
    read -r pid <"$folder/pid"
    started="$started $folder=$pid"
    eval "exec $out<\"\$folder/stdout\" $err<\"\$folder/stderr\""
}

launch() (
    folder=$1 kind=$2 port=$3 limit=$4
    shift 4
    # One that a lost session has left; its process id may belong to somebody else by now.
    if is_running "$folder" && grep -qs '^timeout' "/proc/$pid/cmdline"; then stop "$folder"; fi
    [ "$kind" != none ] && is_taken "$kind" "$port" &&
        { echo "another program listens at port $((0x$port)) already"; exit 1; }
    rm -rf "$folder"
    mkdir -m 0700 "$folder" || exit 1
    room "$folder" || exit 1
    # Both are there, and empty, before the process is.
    : >"$folder/stdout" && : >"$folder/stderr" || exit 1
    setsid timeout "$limit" "$@" >>"$folder/stdout" 2>>"$folder/stderr" </dev/null &
    echo $! >"$folder/pid" || { kill $!; exit 1; }
    until [ "$kind" = none ] || is_taken "$kind" "$port"; do
        kill -0 "$!" 2>/dev/null || { cat "$folder/stdout" "$folder/stderr"; exit 1; }
        sleep 0.1
    done
)

# What has come at a file's descriptor since it was asked last. Arguments: descriptor, letter. A line has the
# letter and | before it, one without its end, the letter and +.
news() {
    while IFS= read -r line <&"$1"; do printf '%s|%s\n' "$2" "$line"; done
    [ -z "$line" ] || printf '%s+%s\n' "$2" "$line"
}

# End the process of a folder, and remove it. One whose other end has vanished may not heed SIGTERM; one that heeds
# it may have to wait until what it has sent has arrived.
patience=450
stop() {
    tries=0
    ! is_running "$1" || kill "$pid"
    while is_running "$1"; do
        [ "$tries" -lt "$patience" ] || kill -KILL "-$pid"
        tries=$((tries + 1))
        sleep 0.1
    done
    rm -rf "$1"
}

printf '\n@ready\n'
while read -r number request; do
    [ -n "$number" ] || continue
    eval "$request"
    printf '\n@%s %s\n' "$number" "$?"
done
# Nobody is there any more to end what was started. Where that was noticed late, the folder may be the next session's.
for each in $started; do
    read -r pid 2>/dev/null <"${each%=*}/pid" && [ "$pid" = "${each##*=}" ] && stop "${each%=*}"
done
