# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# threaded
# `vine mount` on a machine where nothing runs yet: the tree is there, equal and read-only; readers outlive vinefs; umount succeeds or says who holds it.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
node=$HOME/.local/state/vine/node
keeper() { cat "$node/lock"; }
worker() { pgrep -P "$(keeper)" vinefs; }
end_node() {
	local pid
	pid=$(keeper)
	kill -TERM "$pid"
	poll 15 gone "$pid"
}
trap '[ ! -e "$node/lock" ] || cat "$node/vinefs.log" >&2; on_exit' EXIT

cp -a "$SRC/common" "$DIR/a"
seq 1 500000 >"$DIR/a/big"
ln -s big "$DIR/a/link"
mkdir "$DIR/m"

expect 125 vine mount "$DIR/a" "$DIR/none/below"
contains "$DIR/err" "mkdir -p"
expect 125 vine mount nobody "$DIR/m"
expect 125 vine mount nobody "$DIR/none"
[ ! -e "$DIR/none" ] || fail "a directory was made for nothing"
expect 0 vine mount --sealed "$DIR/a" "$DIR/m" # for it changes below
diff -r --no-dereference "$DIR/a" "$DIR/m"
attributes() { (cd "$1" && find . ! -type d -printf '%P %y %m %s %T@ %l\n' | sort); }
attributes "$DIR/a" >"$DIR/a.list"
attributes "$DIR/m" >"$DIR/m.list"
diff "$DIR/a.list" "$DIR/m.list"
expect 1 touch "$DIR/m/new"
contains "$DIR/err" "Read-only"
expect 0 vine mount
contains "$DIR/out" "$DIR/m"
expect 0 vine mount --json
python3 -m json.tool "$DIR/out" >/dev/null || fail "no JSON"

# The source may change: the mount does not.
cp "$DIR/a/big" "$DIR/big"
echo other >"$DIR/a/big"
cmp "$DIR/m/big" "$DIR/big"

listed() { vine mount | grep -q "$DIR/m"; } # without a node it lists nothing, and that is no failure

# Readers see nothing of vinefs' death.
python3 "$SRC/tests/system/readers.py" "$DIR/m/big" "$DIR/big" "$DIR/stop" >"$DIR/readers" 2>&1 &
readers=$!
for _ in 1 2 3 4; do
	before=$(worker)
	poll 10 test -s "$DIR/readers"
	kill -KILL "$before"
	again() { [ -n "$(worker)" ] && [ "$(worker)" != "$before" ]; }
	poll 20 again
	poll 20 listed
	timeout 20 cmp "$DIR/m/big" "$DIR/big"
done
touch "$DIR/stop"
wait $readers || fail "a reader saw it: $(cat "$DIR/readers")"
expect 0 vine mount
contains "$DIR/out" "$DIR/m"

# In use, then not.
exec {held}<"$DIR/m/big"
expect 1 vine umount "$DIR/m"
contains "$DIR/out" "$$"
contains "$DIR/err" "vine umount -f"
exec {held}<&-
expect 0 vine umount "$DIR/m"
expect 125 vine umount "$DIR/m"
[ -z "$(ls "$DIR/m")" ] || fail "still mounted"
gone_from_list() { ! vine mount | grep -q "$DIR/m"; }
poll 10 gone_from_list

# Two at once, one of them by its name; the node's end unmounts what is left.
vine seal -q "$DIR/a" --name a >/dev/null
mkdir "$DIR/m2"
expect 0 vine mount -q "$DIR/a" "$DIR/m"
expect 0 vine mount -q a "$DIR/m2"
diff -r "$DIR/m" "$DIR/m2"
exec {held}<"$DIR/m2/log.c"
expect 0 vine umount -f "$DIR/m2"
exec {held}<&-
expect 0 vinefs a "$DIR/m2" -o rw,nosuid,noatime
diff -r "$DIR/m" "$DIR/m2"
expect 125 vinefs a "$DIR/m2" -o nonsense
contains "$DIR/err" nonsense
expect 0 vine umount "$DIR/m2"

# In a namespace of one's own, where the node's cannot see it.
if unshare -Urm true 2>/dev/null; then
	expect 0 unshare -Urm bash -c 'vine mount -q a "$0" && diff -r "$1" "$0" && vine umount "$0"' "$DIR/m2" "$DIR/m"
	[ -z "$(ls "$DIR/m2")" ] || fail "it is seen here"
	expect 0 unshare -Urm bash -c 'vine mount -q a "$0" && diff -r "$1" "$0"' "$DIR/m2" "$DIR/m"
	one_left() { [ "$(vine mount --json | grep -o '"directory"' | wc -l)" = 1 ]; }
	poll 10 one_left
fi
end_node
[ -z "$(ls "$DIR/m")" ] || fail "the node's end left a mount"
