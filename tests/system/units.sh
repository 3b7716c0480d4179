# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# systemd takes the units that are installed, and they start the programs that are.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/typed-lib"

command -v systemd-analyze >/dev/null || skip "no systemd-analyze: package systemd"
for kind in system user; do
	mkdir -p "$DIR/$kind"
	for each in vined vine-node; do
		[ $kind = user ] || each=$each@
		file=$(find "$STAGE" -path "*/systemd/$kind/$each.service")
		[ -s "$file" ] || fail "no unit $each.service of $kind"
		program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$file")
		[ "$(find "$STAGE" -path "*${program#"$STAGE"}" -perm -100)" ] || fail "$each.service starts $program, which is not installed"
		# An installation below a directory of its own has its programs elsewhere.
		sed "s|^ExecStart=$program|ExecStart=$(command -v "${program##*/}")|" "$file" >"$DIR/$kind/$each.service"
	done
done
export XDG_RUNTIME_DIR=$DIR/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
expect 0 systemd-analyze verify --man=no "$DIR/system/vined@.service" "$DIR/system/vine-node@.service"
[ ! -s "$DIR/err" ] || fail "systemd says of system units: $(cat "$DIR/err")"
expect 0 systemd-analyze verify --user --man=no "$DIR/user/vined.service" "$DIR/user/vine-node.service"
[ ! -s "$DIR/err" ] || fail "systemd says of user units: $(cat "$DIR/err")"

# ---- a manager of a user, in groups of its own, starts what it is told, keeps it, and ends it in order
[ -x /lib/systemd/systemd ] && [ "$(id -u)" = 0 ] || exit 0
export XDG_CONFIG_HOME=$HOME/.config
mkdir -p "$XDG_CONFIG_HOME/systemd/user" "$HOME/.local/state/vine"
cp "$DIR/user/vined.service" "$DIR/user/vine-node.service" "$XDG_CONFIG_HOME/systemd/user"
# What the service of the system is kept from, as far as a manager in namespaces can.
mkdir "$XDG_CONFIG_HOME/systemd/user/vined.service.d"
{
	echo '[Service]'
	sed -n '/^CapabilityBoundingSet/,/^UMask/p' "$DIR/system/vined@.service" | grep -v '^ProtectKernel\|^PrivateTmp'
	echo 'ReadWritePaths=%h/.local/state/vine'
} >"$XDG_CONFIG_HOME/systemd/user/vined.service.d/kept.conf"
cat >"$DIR/manage" <<-'SH'
	set -e
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR"
	chmod 700 "$XDG_RUNTIME_DIR"
	umount -R /sys/fs/cgroup 2>/dev/null || :
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	unset NOTIFY_SOCKET
	exec /lib/systemd/systemd --user --unit=basic.target
SH
group=$(sed -n 's,^[^ ]* \([^ ]*\) cgroup2 .*,\1,p' /proc/mounts | head -n 1)/vine-test-$(cat /proc/sys/kernel/random/uuid)
mkdir "$group" 2>/dev/null || { echo "no groups of version 2 can be made: the units are not started"; exit 0; }
XDG_RUNTIME_DIR=/run/user/0
bash -c 'echo $$ >"$1/cgroup.procs" && exec unshare --mount --cgroup --propagation private bash "$2"' manage "$group" "$DIR/manage" >"$DIR/manager.log" 2>&1 &
manager=$!
control() { nsenter --target $manager --mount env XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" systemctl --user "$@"; }
is_running() { [ "$(control is-system-running)" = running ]; }
finish() {
	control stop vine-node vined || :
	kill -TERM $manager && wait $manager || :
	find "$group" -depth -type d -exec rmdir {} + || :
}
trap 'finish; on_exit' EXIT
is_settled() { is_running || gone $manager; }
poll 10 is_settled
if gone $manager; then
	echo "no manager runs here: $(tail -n 1 "$DIR/manager.log")"
	exit 0
fi
# As the page says it.
systemctl() { [ "$1" = --user ] && control "${@:2}"; }
ip address add 10.9.0.1/32 dev lo
unset VINE
blocks_of "$SRC/doc/clusters.md" systemd "$DIR/blocks"
for each in 1 2; do
	(set -e; . "$DIR/blocks/$each.sh") >"$DIR/typed.out" 2>&1 || fail "block $each: $(cat "$DIR/typed.out")"
done
contains "$DIR/typed.out" hello
connected() { vine status | grep '  connected  '; }
[[ "$(control show -p StatusText vine-node)" == *'vinefs ready'* ]] || fail "the status does not say that it has joined"
main() { control show -p MainPID --value "$1"; }
for each in vined vine-node; do
	before=$(main $each)
	kill -KILL "$before"
	back() { [ "$(main $each)" != "$before" ] && [ "$(control is-active $each)" = active ]; }
	poll 20 back
done
poll 10 connected
expect 0 control stop vine-node
[ "$(control show -p Result --value vine-node)" = success ] || fail "the node does not end in order"
! connected || fail "it is still there"
expect 0 control stop vined
[ "$(control show -p Result --value vined)" = success ] || fail "vined does not end in order"
