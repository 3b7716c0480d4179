# SPDX-License-Identifier: Apache-2.0
# deadline: 90
# vine logs -f: from before its start to its end, as it writes, both streams; over a crash of vined.
. "$SRC/tests/system/lib.sh"

start_vined cluster
address=$(field cluster address)
touch "$DIR/n"
vine run -J logs -- sh -c "echo first; echo problem >&2; until [ -e $DIR/go ]; do sleep 0.05; done; echo second; until [ -e $DIR/end ]; do sleep 0.05; done; echo last" >"$DIR/run.out" 2>"$DIR/run.err" &
run=$!
queued() { [ "$(vine status --json | grep -c '"queued": 1')" = 1 ]; }
poll 20 queued
# Nobody can run it yet: the reason is said.
vine logs -f 1 >"$DIR/follow.out" 2>"$DIR/follow.err" &
follow=$!
waits() { grep -q waiting "$DIR/follow.err"; }
poll 20 waits
start_node n1
has() { grep -q "$1" "$DIR/follow.$2"; }
poll 20 has first out
poll 20 has problem err
! has second out || fail "it was not written yet"
touch "$DIR/go"
poll 20 has second out
crash cluster
start_vined cluster --listen="$address"
touch "$DIR/end"
wait $follow || fail "vine logs -f: $(cat "$DIR/follow.err")"
wait $run || fail "vine run: $(cat "$DIR/run.err")"
[ "$(cat "$DIR/follow.out")" = 'first
second
last' ] || fail "followed: $(cat "$DIR/follow.out")"
[ "$(grep -c problem "$DIR/follow.err")" = 1 ] || fail "its errors came twice or not: $(cat "$DIR/follow.err")"
expect 0 vine logs 1
[ "$(wc -l <"$DIR/out")" = 3 ] || fail "afterwards: $(cat "$DIR/out")"
