# SPDX-License-Identifier: Apache-2.0
# Trees come and go in a mount; unmounting says who holds it, and when forced it succeeds.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

mkdir -p "$DIR/one/sub" "$DIR/two"
echo one >"$DIR/one/sub/file"
echo never >"$DIR/one/never-read"
echo two >"$DIR/two/file"
cp "$(command -v tail)" "$DIR/two/program"
serve "$DIR/m" one="$DIR/one"

[ ! -e "$DIR/m/two" ] || fail "a tree from nowhere"
ask add two "$DIR/two"
[ "$(cat "$DIR/m/two/file")" = two ] || fail "a new tree is not seen, its absence was remembered"
[ "$(ls "$DIR/m")" = $'one\ntwo' ] || fail "the listing is old: $(ls "$DIR/m")"
refused add two "$DIR/two" >/dev/null
refused add ../x "$DIR/two" >/dev/null
refused add x/y "$DIR/two" >/dev/null
refused remove three >/dev/null
inode=$(stat -c %i "$DIR/m/two/file")

# A tree that is removed under a process: its names are gone, what is open gives errors, nothing hangs.
cd "$DIR/m/one/sub"
ask remove one
expect 1 cat "$DIR/m/one/sub/file"
[ "$(ls "$DIR/m")" = two ] || fail "a removed tree is listed"
! cat ../never-read 2>/dev/null || fail "a removed tree is read"
cd "$DIR"
ask add one "$DIR/one"
[ "$(cat "$DIR/m/one/sub/file")" = one ] || fail "it did not come back"
[ "$(stat -c %i "$DIR/m/two/file")" = "$inode" ] || fail "a number has changed"

# The same names with other contents' index: numbers stay.
inode=$(stat -c %i "$DIR/m/one/sub/file")
ask swap one "$DIR/one"
[ "$(stat -c %i "$DIR/m/one/sub/file")" = "$inode" ] || fail "a swap changed numbers"
refused swap one "$DIR/two" >/dev/null

# Who holds it: by a working directory, an open file, a program.
(cd "$DIR/m/one" && exec tail -f /dev/null) & inside=$!
tail -f "$DIR/m/two/file" >/dev/null & reading=$!
"$DIR/m/two/program" -f /dev/null & running=$!
is_there() { [ "$(readlink "/proc/$inside/cwd")" = "$DIR/m/one" ] && ls -l "/proc/$reading/fd" | grep -q m/two/file && grep -q m/two/program "/proc/$running/maps"; }
poll 5 is_there
refused unmount >"$DIR/holders"
contains "$DIR/holders" "$inside tail: works in it"
contains "$DIR/holders" "$reading tail: has 1 open there"
contains "$DIR/holders" "$running program: runs or maps files of it"
[ "$(cat "$DIR/m/two/file")" = two ] || fail "a refused unmount did harm"
ask unmount force >/dev/null
[ -z "$(ls "$DIR/m")" ] || fail "it is still mounted"
refused unmount >/dev/null
kill -KILL $inside $reading $running
wait $inside $reading $running 2>/dev/null || :
stop serve

# What a dead server leaves is taken away by the next.
serve --single "$DIR/m" "$DIR/one"
[ "$(cat "$DIR/m/sub/file")" = one ] || fail "a single tree is not its mount's root"
[ "$(stat -c %i "$DIR/m")" = 1 ] || fail "the root's number"
crash serve
expect 2 ls "$DIR/m/x"
serve --single "$DIR/m" "$DIR/two"
[ "$(cat "$DIR/m/file")" = two ] || fail "a dead mount was not replaced"
[ "$(ask hot | head -n 1)" = / ] || fail "no record of what was read first: $(ask hot)"
ask warm | grep -q 'directories=1 files=2' || fail "it was not warmed"
ask unmount
stop serve
! grep -q 'not released' "$DIR/serve.log" || fail "a tree was kept for ever"
