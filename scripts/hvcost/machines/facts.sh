# Facts of a Linux machine, one `key=value` a line; first argument: the interface whose facts are wanted.
# Plain sh and what BusyBox has, so that the same text runs on hosts, clients and guests. The shell reads files
# itself: to start a program takes seconds where the processor is translated twice.

interface=$1

fact() {
    [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"
}

content() {
    line=''
    [ ! -r "$2" ] || read -r line 2>/dev/null <"$2"
    fact "$1" "$line"
}

content hostname /proc/sys/kernel/hostname
content kernel /proc/sys/kernel/osrelease
fact architecture "$(uname -m)"
[ ! -r /etc/os-release ] || while IFS='=' read -r name value; do
    [ "$name" != PRETTY_NAME ] || { value=${value#\"} && fact system "${value%\"}"; }
done </etc/os-release
cpus=0 model='' is_virtual=''
while IFS=':' read -r name value; do
    case $name in
        processor*) cpus=$((cpus + 1)) ;;
        'model name'*) model=${value# } ;;
        flags*) case " $value " in *' hypervisor '*) is_virtual=yes ;; esac ;;
    esac
done </proc/cpuinfo
fact cpu_model "$model"
fact cpus "$cpus"
while read -r name value _; do
    [ "$name" != MemTotal: ] || { fact memory_kib "$value" && break; }
done </proc/meminfo
content boot_id /proc/sys/kernel/random/boot_id

# CPUID leaf 0x40000000 names the hypervisor as the processor shows it (through the module cpuid).
if [ -n "$is_virtual" ]; then
    [ -e /dev/cpu/0/cpuid ] || modprobe -q cpuid 2>/dev/null
    vendor=$(dd if=/dev/cpu/0/cpuid bs=16 count=1 skip=1073741824 iflag=skip_bytes 2>/dev/null |
        tail -c 12 | tr -cd 'A-Za-z ')
    fact cpuid_vendor "${vendor:-unknown}"
else
    fact cpuid_vendor none
fi
content hypervisor_type /sys/hypervisor/type
content dmi_product /sys/class/dmi/id/product_name
content clocksource /sys/devices/system/clocksource/clocksource0/current_clocksource
content governor /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
content congestion_control_default /proc/sys/net/ipv4/tcp_congestion_control
content congestion_controls /proc/sys/net/ipv4/tcp_available_congestion_control
# These two files are given out whole or not at all, and shells read byte by byte.
fact tcp_rmem "$(cat /proc/sys/net/ipv4/tcp_rmem)"
fact tcp_wmem "$(cat /proc/sys/net/ipv4/tcp_wmem)"

fact interface "$interface"
content mtu "/sys/class/net/$interface/mtu"
driver=$(readlink "/sys/class/net/$interface/device/driver" 2>/dev/null)
driver=${driver##*/}
# What is no device has a driver all the same.
fact driver "${driver:-$(ethtool -i "$interface" 2>/dev/null | sed -n 's/^driver: //p')}"
queues=0
for queue in "/sys/class/net/$interface/queues/rx-"*; do
    [ ! -e "$queue" ] || queues=$((queues + 1))
done
fact rx_queues "$queues"
routes=''
while read -r line; do
    [ -z "$line" ] || routes="$routes$line ;"
done <<EOF
$(ip route show dev "$interface" 2>/dev/null)
EOF
fact route "$routes"
offloads='' is_told=''
while IFS=': ' read -r name value _; do
    [ -z "$value" ] || is_told=yes
    case $name/$value in
        [a-z]*checksumming/on | [a-z]*offload/on | scatter-gather/on) offloads="$offloads$name " ;;
    esac
done <<EOF
$(ethtool -k "$interface" 2>/dev/null)
EOF
fact offloads_on "${offloads:-${is_told:+none}}"
