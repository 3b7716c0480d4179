# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 4: the server is killed under readers and another takes over what the holder kept; readers pause and see no error.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

release=$(uname -r)
[ "$(printf '6.9\n%s\n' "$release" | sort -V | head -n 1)" = 6.9 ] || skip "kernel $release cannot resend (6.9 can)"
kills=$([ -n "${SOAK-}" ] && echo 200 || echo 20)
mkdir "$DIR/src"
head -c 32000000 /dev/urandom >"$DIR/src/big"
for ((i = 0; i < 300; i++)); do echo "$i" >"$DIR/src/$i"; done

serve --hold "$DIR/m" a="$DIR/src" b="$SRC/common"
mount-readers 8 3600 "$DIR/m/a/big" "$DIR/src/big" >"$DIR/readers" 2>&1 &
readers=$!
# The first generation's numbers go on meaning the same files, and bytes that a reader waits for come from the next one.
cd "$DIR/m/a"
exec 5<0
more_than() { [ "$(grep -c '^mount-serve ready' "$DIR/serve.out")" -gt "$1" ]; }
for ((i = 1; i <= kills; i++)); do
	kill -KILL "$(server)"
	poll 10 more_than $i
	[ "$(cat "$i")" = $i ] || fail "a wrong byte after kill $i"
	[ "$(ls "$DIR/m")" = $'a\nb' ] || fail "a tree is gone"
done
read -r zero <&5
[ "$zero" = 0 ] || fail "an open file has changed"
exec 5<&-
cd "$DIR"
ask stall on
cat "$DIR/m/a/299" >"$DIR/late" &
late=$!
poll 10 at_least waiting 1
kill -KILL "$(server)"
poll 10 more_than $((kills + 1))
ask stall off
wait $late || fail "a parked read was lost by a kill"
[ "$(cat "$DIR/late")" = 299 ] || fail "a parked read came back wrong"
# A server that goes in order hands over the same way.
ask stall on
cat "$DIR/m/a/298" >"$DIR/late" &
late=$!
poll 10 at_least waiting 1
ask hand-over
poll 10 more_than $((kills + 2))
ask stall off
wait $late || fail "a parked read was lost by a hand-over"
[ "$(cat "$DIR/late")" = 298 ] || fail "a parked read came back wrong"
# New trees get new numbers after it all.
was=$(stat -c %i "$DIR/m/b/base.c")
ask remove b
ask add c "$SRC/common"
kill -KILL "$(server)"
poll 10 more_than $((kills + 3)) || fail "it does not come back"
[ -d "$DIR/m/a" ] && [ ! -e "$DIR/m/c" ] || fail "a tree that nobody gave back is there"
[ "$(stat -c %i "$DIR/m/b/base.c")" -gt "$was" ] || fail "a removed tree's numbers were given again"
kill -TERM $readers
wait $readers 2>/dev/null || :
[ ! -s "$DIR/readers" ] || fail "readers: $(cat "$DIR/readers")"
mount-readers 8 1 "$DIR/m/a/big" "$DIR/src/big"
