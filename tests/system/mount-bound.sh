# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# threaded
# What a private mount has bound looks as it did to its end, whatever becomes of vinefs meanwhile; and what somebody wrote into the cache's files is found before it is bound again.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
unshare -m true 2>/dev/null || skip "no namespaces"
node=$HOME/.local/state/vine/node
trap '[ ! -e "$node/lock" ] || tail -n 20 "$node/vinefs.log" >&2; on_exit' EXIT
worker() { pgrep -P "$(cat "$node/lock")" vinefs; }
none_left() { [ "$(vine mount --json | grep -c '"directory"')" = 0 ]; }
private() { vine mount -q --sealed "$@"; }
attributes() { (cd "$1" && stat -c '%n %a %s %y' f1 f2); }
bound() { private "$1" "$DIR/m2" -- grep -c " $DIR/m2/" /proc/self/mountinfo || :; }

# The same bytes with other modes and times.
mkdir "$DIR/a" "$DIR/m" "$DIR/m2"
seq 1 400000 >"$DIR/a/f1"
seq 400000 800000 >"$DIR/a/f2"
cp -r "$DIR/a" "$DIR/b"
chmod 644 "$DIR/a/"*
chmod 600 "$DIR/b/"*
touch -d '2020-02-02 02:02:02.123456789' "$DIR/a/"*
touch -d '2021-03-03 03:03:03' "$DIR/b/"*
attributes "$DIR/a" >"$DIR/a.list"
attributes "$DIR/b" >"$DIR/b.list"

# In use, it tells what it sees as often as it is asked.
mkfifo "$DIR/ask" "$DIR/answer"
cat >"$DIR/look" <<'SHELL'
cd "$DIR"
exec 3<>ask 4<>answer
grep -c " $DIR/m/" /proc/self/mountinfo >&4
while read -r -u 3 what && [ "$what" = look ]; do
	{ (cd m && stat -c '%n %a %s %y' f1 f2) && cmp a/f1 m/f1 && cmp a/f2 m/f2 && echo end; } >&4 2>&1
done
SHELL
exec 5<>"$DIR/ask" 6<>"$DIR/answer"
look_again() {
	local line
	echo look >&5
	: >"$DIR/seen"
	while read -r -t 30 -u 6 line && [ "$line" != end ]; do echo "$line" >>"$DIR/seen"; done
	diff "$DIR/a.list" "$DIR/seen" >&2 || fail "what is bound has changed $1"
}
private "$DIR/a" "$DIR/m" -- env DIR="$DIR" bash "$DIR/look" & command=$!
read -r -t 60 -u 6 n && [ "$n" = 2 ] || fail "$n files are bound"
look_again "at once"

other_is_served() {
	expect 0 private "$DIR/b" "$DIR/m2" -- sh -c 'cd "$0/m2" && stat -c "%n %a %s %y" f1 f2 && cmp f1 ../b/f1 && cmp f2 ../b/f2' "$DIR"
	diff "$DIR/b.list" "$DIR/out" >&2 || fail "the other tree looks wrong"
	look_again "by another mount $1"
}
again() { [ -n "$(worker)" ] && [ "$(worker)" != "$before" ] && vine mount | grep -q "$DIR/m "; }
other_is_served "while vinefs lives"
before=$(worker)
expect 0 vine node upgrade
poll 20 again
other_is_served "after an upgrade"
before=$(worker)
kill -KILL "$before"
poll 20 again
other_is_served "after the death of vinefs"
[ "$(bound "$DIR/a")" = 2 ] || fail "the same look is not bound again"
echo over >&5
wait $command || fail "the command ended with $?"
poll 10 none_left

# Now nobody has it bound, and the other gets it.
[ "$(bound "$DIR/b")" = 2 ] || fail "$(bound "$DIR/b") of the other's files are bound when nobody has them any more"

# Whoever owns the cache can write to it; that is found before it is bound.
file=$(find "$node/cache/b" -type f -size "$(stat -c %s "$DIR/b/f2")c" | head -n 1)
printf '?!' | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
expect 0 private "$DIR/b" "$DIR/m2" -- cmp "$DIR/m2/f2" "$DIR/b/f2"
contains "$node/vinefs.log" "is verified again"
contains "$node/vinefs.log" "is damaged"
pid=$(cat "$node/lock")
kill -TERM "$pid"
poll 15 gone "$pid"
