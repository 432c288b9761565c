#!/bin/sh
# The guest's first process: makes a machine that tests can run on, runs what guest.command says, and switches off.
# GUEST_out (the folder that the host sees) comes from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t sysfs none /sys
mount -t tmpfs none /run
mount -t tmpfs none /tmp
mkdir -p /dev/pts /dev/shm /run/lock /tmp/home
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t debugfs none /sys/kernel/debug
chmod 1777 /tmp /dev/shm
busybox ip link set lo up multicast on
busybox hostname guest
for udevd in /lib/systemd/systemd-udevd /usr/lib/systemd/systemd-udevd /sbin/udevd; do
  if [ -x $udevd ]; then $udevd --daemon; break; fi
done
export HOME=/tmp/home TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1
cd /tmp
busybox stty -F /dev/hvc0 -opost
sh "$GUEST_out/command" >/dev/hvc0 2>&1 </dev/null
echo $? >"$GUEST_out/status"
sync
busybox poweroff -f
