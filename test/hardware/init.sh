#!/bin/sh
# The guest's first process: makes a machine that tests can run on, runs the file `command` of the folder
# that the host sees, and switches off. GUEST_out, that folder, comes from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t sysfs none /sys
mount -t tmpfs none /run
mkdir -p /dev/pts /dev/shm /run/lock /run/tmp /run/home "$GUEST_out"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 out "$GUEST_out"
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t debugfs none /sys/kernel/debug
chmod 1777 /dev/shm /run/tmp
busybox ip link set lo up multicast on
busybox hostname guest
for udevd in /lib/systemd/systemd-udevd /usr/lib/systemd/systemd-udevd /sbin/udevd; do
  if [ -x $udevd ]; then $udevd --daemon; break; fi
done
export HOME=/run/home TMPDIR=/run/tmp PYTHONDONTWRITEBYTECODE=1
cd /run/home
exec 3<>/dev/hvc0
busybox stty -opost <&3
sh "$GUEST_out/command" >&3 2>&1 </dev/null
echo $? >"$GUEST_out/status"
busybox stty opost <&3 # waits until all is written
sync
busybox poweroff -f
