#!/bin/bash
# Follows the README under a systemd of its own: makes a Debian tree (debootstrap), boots it in namespaces of its own, without a
# network but lo, and has visit.sh install dirpost there and use it, with a reboot in between. As root; `make live`.
# DEBIAN_TREE=FOLDER keeps the tree for the next run; otherwise it is made below TMPDIR and removed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "live.sh: this is for root" >&2; exit 2; }
cgroups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$cgroups" ] || { echo "live.sh: no cgroup2 is mounted here" >&2; exit 2; }
tree=${DEBIAN_TREE:-$(mktemp -d "${TMPDIR:-/tmp}/dirpost-live.XXXXXX")}
group=$cgroups/dirpost-live.$$
booted=""

leave() {
	[ -z "$booted" ] || kill -KILL "$booted" 2>/dev/null || true
	wait || true
	for try in 1 2 3 4 5; do # a cgroup is free shortly after the last of its processes
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break || sleep 1
	done
	[ -n "${DEBIAN_TREE:-}" ] || rm -rf --one-file-system "$tree"
}
trap leave EXIT

if [ ! -e "$tree/usr/sbin/slapd" ]; then
	mkdir -p "$tree"
	DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,procps,curl,openssl,swaks,perl-openssl-defaults,libnet-ssleay-perl,libauthen-sasl-perl,slapd,slapd-contrib,ldap-utils \
		bookworm "$tree" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$tree.log" 2>&1 || { tail "$tree.log"; exit 1; }
	rm "$tree.log"
	ln -sf /dev/null "$tree/etc/systemd/system/console-getty.service"
	ln -sf /dev/null "$tree/etc/systemd/system/slapd.service" # visit.sh unmasks it
	echo mailhost >"$tree/etc/hostname"
	printf '127.0.0.1 localhost mailhost\n::1 localhost\n' >"$tree/etc/hosts"
	: >"$tree/etc/machine-id"
fi
make -s -C "$here/../.." install DESTDIR="$tree" # built here: the tree has no compiler
cp "$here/visit.sh" "$tree/root/visit.sh"

# The mounts that a container has. What is done here is done in the namespaces of the machine that is to be.
cat >"$tree/root/boot.sh" <<'BOOT'
hostname mailhost
mount --make-rprivate / && mount --bind "$1" "$1" && cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"; done
mkdir dev/pts dev/shm && mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts && ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
ip link set lo up
pivot_root . mnt && umount -l /mnt
exec env -i container=oci PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin /lib/systemd/systemd --log-target=journal
BOOT

boot() {
	mkdir -p "$group"
	(
		echo "$BASHPID" >"$group/cgroup.procs"
		exec unshare --uts --pid --mount --net --ipc --cgroup --fork --kill-child bash "$tree/root/boot.sh" "$tree" </dev/null >/dev/null 2>&1
	) &
	booted=$!
	for try in $(seq 100); do
		inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' && return
		sleep 0.2
	done
	echo "live.sh: systemd does not come up" >&2
	exit 1
}

inside() {
	nsenter -t "$(pgrep -P "$booted")" -a -r -w env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin SYSTEMD_PAGER= "$@"
}

boot
inside bash /root/visit.sh embedded
inside systemctl reboot
{ wait "$booted"; } 2>/dev/null || true # it ends by the signal that stands for a reboot
boot
inside bash /root/visit.sh rebooted
inside bash /root/visit.sh restored
inside bash /root/visit.sh slapd
inside systemctl poweroff
{ wait "$booted"; } 2>/dev/null || true
booted=""
