# SPDX-License-Identifier: Apache-2.0
# An ordinary user's node: his tasks are limited by looking, his shells are in their views, and he needs no right for either. Nobody else gets in.
# deadline: 120
# once
. "$SRC/tests/system/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root to become two users"
command -v setpriv >/dev/null || skip "no setpriv"
mknod "$DIR/fuse" c 10 229 && chmod 666 "$DIR/fuse" && mount --bind "$DIR/fuse" /dev/fuse || skip "cannot make a device node here"
trap 'umount -l /dev/fuse || :; on_exit' EXIT
(exec 3<>/dev/fuse) 2>/dev/null || skip "device nodes do not work here"
as() { # UID CMD...
	local uid=$1
	shift
	setpriv --reuid "$uid" --regid "$uid" --clear-groups env HOME="$DIR/$uid" "$@"
}
chmod 755 "$DIR"
for uid in 1000 2000; do
	mkdir "$DIR/$uid"
	chown "$uid:$uid" "$DIR/$uid"
done
as 1000 vine version >/dev/null 2>&1 || skip "another user cannot run this build"
as 1000 unshare --user --map-root-user --mount true 2>/dev/null || skip "no user namespaces for users here"
mkdir "$DIR/1000/in" && echo original >"$DIR/1000/in/file"
chown -R 1000:1000 "$DIR/1000"

user=(setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$DIR/1000")
start cluster 'vined ready' "${user[@]}" vined --state="$DIR/1000/cluster" --listen=127.0.0.1:0
vined=cluster
VINE=$(field cluster socket)
start n1 'vinefs ready' "${user[@]}" vinefs --state="$DIR/1000/n1" --name=n1 --cores=4 --vined="$(field cluster address)" --secret="$DIR/1000/cluster/secret"
export VINE VINE_NODE=$DIR/1000/n1
vine=("${user[@]}" vine)
contains <("${vine[@]}" status) views

# Limits: by looking, for no group is his.
cat >"$DIR/bomb.py" <<'PY'
import os, sys, time
slow = len(sys.argv) > 1  # one that only looking can meet must not be faster than that on a busy machine
while True:
    try:
        if os.fork() == 0 and slow:
            time.sleep(1000)
    except OSError:
        time.sleep(0.01)
    if slow:
        time.sleep(0.002)
PY
gone_all() { ! pgrep -u 1000 -f "^python3 $DIR/bomb.py" >/dev/null; }
expect 137 "${vine[@]}" run --processes 50 -- python3 "$DIR/bomb.py" slow
contains "$DIR/err" "it had more than its 50 processes and threads at once"
poll 10 gone_all
expect 137 "${vine[@]}" run --mem 100M -- python3 -c 'import time
held = []
while True:
    held.append(b"x" * (1 << 20))
    time.sleep(0.005)'
contains "$DIR/err" "of memory, more than its 100M"
expect 137 "${vine[@]}" run --disk 20M -- sh -c 'i=0; while :; do i=$((i + 1)); head -c 100000 /dev/zero >f$i; done'
contains "$DIR/err" "more than its 20M of disk"

# The view of one that runs, and of one that failed.
"${vine[@]}" run -i "$DIR/1000/in:/opt/seen:rw" -- sh -c "echo changed >/opt/seen/file; echo begun; until [ -e $DIR/go ]; do sleep 0.05; done" >"$DIR/task.out" 2>&1 &
beside=$!
begun() { grep -qx begun "$DIR"/1000/n1/s/*/out; }
poll 20 begun
expect 0 "${vine[@]}" shell 4 -- sh -c 'cat /opt/seen/file; id -u; grep CapEff /proc/self/status'
contains "$DIR/out" changed
contains "$DIR/out" 1000
contains "$DIR/out" 0000000000000000
expect 125 as 2000 vine shell 4 -- true
touch "$DIR/go"
wait $beside || fail "the task ended with $?"
expect 9 "${vine[@]}" run -i "$DIR/1000/in:/opt/seen:rw" -- sh -c 'echo changed >/opt/seen/file; echo half >own; exit 9'
for round in 1 2; do
	expect 0 "${vine[@]}" shell 5 -- sh -c 'cat own /opt/seen/file; grep CapEff /proc/self/status'
	contains "$DIR/out" half
	contains "$DIR/out" changed
	contains "$DIR/out" 0000000000000000
done
expect 125 as 2000 vine shell 5 -- true
[ "$(cat "$DIR/1000/in/file")" = original ] || fail "the input was changed"
expect 0 "${vine[@]}" shell -i "$DIR/1000/in:/opt/seen" -- cat /opt/seen/file
[ "$(cat "$DIR/out")" = original ] || fail "a shell with inputs: $(cat "$DIR/out")"
