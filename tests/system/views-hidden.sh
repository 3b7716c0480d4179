# SPDX-License-Identifier: Apache-2.0
# once
# SECURITY row 7: through its view a task does not reach the daemons' secret, database, sockets, cache, memory, nor another task's sandbox, wherever these lie; and what it writes where
# they would be changes nothing.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cache="$DIR/cache" --name=n1
mkdir "$DIR/in"
head -c 200000 /dev/urandom >"$DIR/in/f"
sum=$(sha256sum <"$DIR/in/f")
expect 0 vine run -i "$DIR/in" -- sha256sum "$DIR/in/f"

cat >"$DIR/try.sh" <<'SHELL'
try() { if "$@" >/dev/null 2>&1; then echo "REACHED: $*"; fi; }
for each in cluster n1; do
	for file in secret vined.db vined.sock vined.db-wal address vinefs.sock mount.sock keeper.log node-id; do try test -e "$DIR/$each/$file"; done
done
try test -e "$DIR/cache/VERSION"
[ -z "$(find "$DIR/cache" "$DIR/cluster" -type f 2>/dev/null)" ] || echo "REACHED: $(find "$DIR/cache" "$DIR/cluster" -type f)"
for each in "$DIR"/n1/s/*; do [ "$each" = "$VINE_SANDBOX" ] || try test -e "$each/cwd"; done
# Processes: only its own, and the init that is its parent, whose memory and files are not for it.
for each in environ mem maps fd/0; do try head -c 1 /proc/1/$each; done
for each in root/ cwd/; do try ls /proc/1/$each; done
try sh -c 'readlink /proc/1/fd/*'
for each in /proc/[0-9]*; do [ "$each" = /proc/1 ] || case $(tr '\0' ' ' 2>/dev/null <"$each/cmdline") in *vinefs*|*vined*|*vine-keeper*) echo "REACHED: $each" ;; esac; done
try mount -t tmpfs none "$DIR/cluster"
try umount "$DIR/cache"
try umount "$DIR/cluster"
try env VINE="$DIR/cluster/vined.sock" timeout 2 vine status
env | grep -i secret && echo "REACHED: its environment"
try touch "$DIR/cache/x"
try touch "$DIR/in/f"
try sh -c "echo changed >'$DIR/in/f'"
# The groups that limit it, and what the kernel does.
for each in $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs); do try sh -c "echo \$\$ >$each"; done
try mkdir "/sys/fs/cgroup/unified$(sed -n s/^0:://p /proc/self/cgroup)/sub" "/sys/fs/cgroup/pids$(sed -n s/.*:pids://p /proc/self/cgroup)/sub"
for each in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper; do try sh -c ": >>$each"; done
true
SHELL
expect 0 vine run --env DIR="$DIR" -i "$DIR/in" -i "$DIR/try.sh" -- sh "$DIR/try.sh"
[ ! -s "$DIR/out" ] || fail "$(cat "$DIR/out")"
# Nor as an input: by name, by a link, with what it lies in; brought before the task or read by it.
ln -s "$DIR/n1" "$DIR/innocent"
for staging in lazy full; do
	for each in "$DIR/n1" "$DIR/innocent/keeper.log" "$DIR/cache" "$DIR/cluster/secret" "$DIR" /; do
		expect 125 timeout 30 vine run --staging=$staging -i "$each:in" -- ls -R in
		grep -qE "the node's own directory|what the node keeps from tasks" "$DIR/err" || fail "$each: $(cat "$DIR/err")"
		contains "$DIR/err" "$each"
	done
done
# What one leaves in the kernel's memory the next does not find.
if command -v ipcmk >/dev/null; then
	before=$(ipcs -m)
	expect 0 vine run -- ipcmk -M 4096
	expect 0 vine run -- ipcs -m
	if grep -q 4096 "$DIR/out" || [ "$before" != "$(ipcs -m)" ]; then fail "shared memory outlives a task: $(cat "$DIR/out")"; fi
fi
expect 0 vine run -i "$DIR/in" -- sha256sum "$DIR/in/f"
[ "$(cut -d ' ' -f 1 "$DIR/out")" = "${sum%% *}" ] || fail "the input is another one now"
