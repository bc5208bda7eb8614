# Boots a systemd: what runs this is process 1 of new namespaces (mounts, processes,
# network, host name, IPC). It sees this machine's programs and writes to memory.
# $1 is an empty folder, $2 a folder to be seen as /srv, $3 a new control group.
set -eu
echo 0 >"$3/cgroup.procs"
mount --make-rprivate /
mount -t tmpfs -o mode=755 latchkey "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" latchkey "$1/root"
cd "$1/root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys # the kernel's settings are this machine's
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755,nosuid dev dev
for node in null zero full random urandom tty; do
	: >"dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/shm dev/pts
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount --bind "$2" srv

# Of this machine's units only those that the ones under test stand on.
rm -rf etc/systemd/system etc/systemd/*.conf.d var/lib/latchkey etc/latchkey usr/local/lib/latchkey
mkdir -p etc/systemd/system run/units/sockets.target.wants run/units/sysinit.target.wants
from=lib/systemd/system
[ -e $from ] || from=usr/lib/systemd/system
for unit in basic sysinit sockets slices paths timers local-fs network network-online multi-user shutdown umount final poweroff; do
	cp "$from/$unit.target" run/units
done
cp "$from"/systemd-journald*.socket "$from/systemd-journald.service" "$from/systemd-poweroff.service" run/units
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket run/units/sockets.target.wants
ln -s ../systemd-journald.service run/units/sysinit.target.wants
: >etc/machine-id

# The namespace of control groups begins where this process is now.
exec unshare --cgroup bash -euc '
mount -t cgroup2 cgroup sys/fs/cgroup
mkdir -p .old
pivot_root . .old
umount -l .old
systemd=/lib/systemd/systemd
[ -x $systemd ] || systemd=/usr/lib/systemd/systemd
exec env -i container=latchkey PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units \
	$systemd --unit=multi-user.target --log-target=console --log-level=warning --show-status=no
' </dev/null
