#!/bin/bash
# Follows the README under a systemd of its own: makes a Debian tree (debootstrap), boots it in namespaces of its own, without a
# network but lo, and has visit.sh install dirpost there and use it, with a reboot in between. As root; `make live`.
# The tree lies below TMPDIR and is removed; with DEBIAN_TREE=FOLDER it is copied from there, where it is made once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "live.sh: this is for root" >&2; exit 2; }
cgroups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$cgroups" ] || { echo "live.sh: no cgroup2 is mounted here" >&2; exit 2; }
tree=$(mktemp -d "${TMPDIR:-/tmp}/dirpost-live.XXXXXX")
chmod 755 "$tree" # it is everybody's root folder
group=$cgroups/dirpost-live.$$
booted=""

leave() {
	[ -z "$booted" ] || kill -KILL "$booted" 2>/dev/null || true
	{ wait; } 2>/dev/null || true
	for try in 1 2 3 4 5; do # a cgroup is free shortly after the last of its processes
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break || sleep 1
	done
	rm -rf --one-file-system "$tree" "$tree.log"
}
trap leave EXIT

debian=${DEBIAN_TREE:-$tree}
packages=systemd,systemd-sysv,dbus,iproute2,procps,curl,openssl,swaks,perl-openssl-defaults,libnet-ssleay-perl,libauthen-sasl-perl,slapd,slapd-contrib,ldap-utils
if [ ! -e "$debian/usr/sbin/slapd" ]; then
	if ! DEBIAN_FRONTEND=noninteractive debootstrap --variant=minbase --include=$packages bookworm "$debian" \
		"${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$tree.log" 2>&1; then
		tail "$tree.log" "$debian/debootstrap/debootstrap.log"
		exit 1
	fi
	rm "$tree.log"
fi
[ "$debian" = "$tree" ] || cp -a --reflink=auto "$debian/." "$tree"
for unit in console-getty slapd; do ln -s /dev/null "$tree/etc/systemd/system/$unit.service"; done # visit.sh unmasks slapd
echo mailhost >"$tree/etc/hostname"
printf '127.0.0.1 localhost mailhost\n::1 localhost\n' >"$tree/etc/hosts"
: >"$tree/etc/machine-id"
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
inside systemctl reboot 2>/dev/null || true # the machine may be gone before it answers
{ wait "$booted"; } 2>/dev/null || true # it ends by the signal that stands for a reboot
boot
inside bash /root/visit.sh rebooted
inside bash /root/visit.sh restored
inside bash /root/visit.sh slapd
inside systemctl poweroff 2>/dev/null || true
{ wait "$booted"; } 2>/dev/null || true
booted=""
