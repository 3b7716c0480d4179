# SPDX-License-Identifier: Apache-2.0
# once
# alone
# deadline: 120
# FAULTS 17, connections and tasks: 2,000 nodes over TLS and 100,000 tasks; in the middle of them 200 nodes are cut off for longer than vined waits, and come
# back with what they had. Every task is delivered once, all within a minute, and the memory is bounded.
. "$SRC/tests/system/lib.sh"

n_nodes=2000 n_lost=200 n_tasks=100000
[ "${SOAK:-0}" = 0 ] || n_nodes=10000 n_lost=1000 n_tasks=1000000
start_vined cluster --node-timeout=1s
begin=${EPOCHREALTIME/[.,]/}
said() { echo "$1: $(((${EPOCHREALTIME/[.,]/} - begin) / 1000)) ms from the start"; }

# It reads orders until their end, so they come from a pipe that stays open.
mkfifo "$DIR/orders"
exec {orders}<>"$DIR/orders"
fakes() { exec "$BUILD/tests/bench/fake_nodes" "$(field cluster address)" "$DIR/cluster/secret" "$@" <"$DIR/orders"; }
start fakes joined fakes $n_nodes at-once=$n_nodes cores=4 usec=400000
said "$n_nodes nodes joined at once"

n_answers=0
answered() { [ "$(wc -l <"$DIR/fakes.out")" -gt $n_answers ]; }
ask() { # ORDER
	n_answers=$(wc -l <"$DIR/fakes.out")
	echo "$1" >&$orders
	poll 20 answered
}
number() { tail -n 1 "$DIR/fakes.out" | sed "s/.*$1 \([0-9]*\).*/\1/"; }
has_begun() { ask numbers; [ "$(number started)" -ge "$1" ]; }

RUN=many bag $n_tasks true >"$DIR/bag.out" 2>"$DIR/bag.err" &
bag=$!
poll 60 has_begun $((n_tasks / 5))
ask "leave $n_lost"
n_away=$(number away)
[ "$n_away" -gt 0 ] || fail "the nodes that were cut off had nothing under way"
said "cut off $n_lost nodes with $n_away attempts under way"
# One name for each of them, however many there are.
given_up() { [ "$(grep -c 'not back in time' "$DIR/cluster.log")" -ge $n_lost ]; }
poll 30 given_up
ask back
said "given up, and back"
wait $bag || fail "the client: $(tail -n 3 "$DIR/bag.err")"
took=$(((${EPOCHREALTIME/[.,]/} - begin) / 1000))
said "all $n_tasks results"

[ "$(wc -l <"$DIR/bag.out")" = $n_tasks ] || fail "$(wc -l <"$DIR/bag.out") results"
[ "$(cut -d ' ' -f 1 "$DIR/bag.out" | sort -u | wc -l)" = $n_tasks ] || fail "a result came twice"
awk '$2 != "exited" || $3 != 0 { bad = 1; print } END { exit bad }' "$DIR/bag.out" || fail "a task did not end well"
all_joined() { ask numbers; [ "$(number joined)" = $n_nodes ]; }
poll 20 all_joined
[ "$(number doubled)" = 0 ] || fail "$(number doubled) attempts were started twice"
rss=$(($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(field cluster pid)/status") / 1024))
said "peak of vined $rss MiB"
[ "${SOAK:-0}" != 0 ] || [ $rss -lt 600 ] || fail "vined took $rss MiB"
[ "${SOAK:-0}" != 0 ] || [ $took -lt $((60000 * ${DEADLINE_FACTOR:-1})) ] || fail "it took $took ms"
