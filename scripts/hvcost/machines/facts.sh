# Facts of a Linux machine, one `key=value` a line; first argument: the interface whose facts are wanted.
# Plain sh and what BusyBox has, so that the same text runs on hosts, clients and guests.

interface=$1

fact() {
    [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"
}

content() {
    [ ! -r "$2" ] || fact "$1" "$(head -n 1 "$2" 2>/dev/null)"
}

fact hostname "$(hostname)"
fact kernel "$(uname -r)"
fact architecture "$(uname -m)"
fact system "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release 2>/dev/null)"
fact cpu_model "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
fact cpus "$(grep -c '^processor' /proc/cpuinfo)"
fact memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
fact boot_id "$(cat /proc/sys/kernel/random/boot_id)"

# CPUID leaf 0x40000000 names the hypervisor as the processor shows it (through the module cpuid).
if grep -qw hypervisor /proc/cpuinfo; then
    modprobe -q cpuid 2>/dev/null
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
content tcp_rmem /proc/sys/net/ipv4/tcp_rmem
content tcp_wmem /proc/sys/net/ipv4/tcp_wmem

fact interface "$interface"
content mtu "/sys/class/net/$interface/mtu"
driver=$(basename "$(readlink "/sys/class/net/$interface/device/driver")" 2>/dev/null)
# What is no device has a driver all the same.
fact driver "${driver:-$(ethtool -i "$interface" 2>/dev/null | sed -n 's/^driver: //p')}"
fact route "$(ip route show dev "$interface" 2>/dev/null | tr '\n' ';')"
if command -v ethtool >/dev/null; then
    fact offloads_on "$(ethtool -k "$interface" 2>/dev/null |
        sed -n 's/^\([a-z-]*\): on.*/\1/p' | grep -E 'checksumming|offload|scatter-gather' | sort | tr '\n' ' ')"
fi
