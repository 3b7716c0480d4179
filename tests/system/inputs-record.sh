# SPDX-License-Identifier: Apache-2.0
# deadline: 90
# vine run --record, then vine inputs: with what it prints the same command runs in a strict view.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4
mkdir -p "$DIR/data/set" "$DIR/here"
cd "$DIR/here"
for i in 1 2 3 4 5 6 7 8 9 10; do echo "$i" >"$DIR/data/set/$i"; done
echo "a name" >"$DIR/data/a name:x"
echo other >"$DIR/data/unread"
script="cat $DIR/data/set/*; cat '$DIR/data/a name:x'; echo made >out; cat out; : >tmp; rm tmp"
expect 0 vine run -J rec --record -- sh -c "$script"
cp "$DIR/out" "$DIR/first"
if ! vine inputs 1 >"$DIR/words" 2>"$DIR/err"; then
	grep -q "seccomp\|Function not implemented" "$DIR/err" && skip "this kernel tells nobody what is opened"
	fail "vine inputs: $(cat "$DIR/err")"
fi
printf -- "-i '%s/data/a name\\\\:x'\n-i %s/data/set\n-o out\n" "$DIR" "$DIR" >"$DIR/right"
diff "$DIR/right" "$DIR/words" >&2 || fail "other declarations"
expect 0 vine inputs --list 1
grep -qE "^read +2 +[0-9.]+  $DIR/data/set/3\$" "$DIR/out" || fail "no size of what was read: $(cat "$DIR/out")"
vine inputs --job 1 >job
expect 0 vine run --job job --strict -- sh -c "$script"
diff "$DIR/first" "$DIR/out" >&2 || fail "declared, it printed something else"
[ "$(cat out)" = made ] || fail "the output did not come"
expect 1 vine run --job job --strict -- sh -c "cat $DIR/data/unread || exit 1"
# Of one that was not recorded there is none.
expect 0 vine run -J rec -- true
expect 125 vine inputs 4
contains "$DIR/err" --record
expect 125 vine inputs x
