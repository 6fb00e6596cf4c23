# First program of a machine that is tried under KVM: starts a guest under KVM in it, whose first program speaks.
#
# All of them speak on the machine's serial port, and do so early, so that whoever listens there sees how far it came.

mount -t tmpfs tmp /tmp
echo hvcost-machine
if grep -Eqw 'svm|vmx' /proc/cpuinfo; then
    modprobe -q kvm_amd || modprobe kvm_intel
    # The answer is computed, since the kernel prints its command line.
    qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
        -machine pc,graphics=off -accel kvm -cpu host -m 256 \
        -kernel "/boot/vmlinuz-$(uname -r)" -initrd "/boot/initrd.img-$(uname -r)" \
        -append 'earlyprintk=serial console=ttyS0 panic=-1 rdinit=/bin/sh -- -c "echo hvcost-guest-$((1+1))"' \
        -serial stdio </dev/null
else
    echo 'its processor shows neither AMD-V (svm) nor VT-x (vmx)'
fi
echo hvcost-ended
# The machine's kernel gives up, and its QEMU ends.
exit
