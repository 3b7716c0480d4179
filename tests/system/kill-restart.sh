# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# threaded
# alone
# vined and vinefs killed with -9 and started again in the middle of 1,000 sleeping tasks: each result comes once.
. "$SRC/tests/system/lib.sh"

tasks=1000
start_vined cluster
address=$(field cluster address)
start_node n1 --task-limit=$tasks --cores=$tasks
# In the middle: each has begun, none has ended.
bag "$tasks" sh -c "echo \$VINE_TASK >>$DIR/ran; while [ ! -e $DIR/go ]; do sleep 1; done" >"$DIR/bag.out" 2>"$DIR/bag.err" &
bag=$!

begun() { [ "$(wc -l <"$DIR/ran")" = $tasks ]; }
poll 90 begun
crash cluster
vinefs_pid=$(field n1 pid)
kill -KILL "$vinefs_pid"
start cluster 'vined ready' vined --state="$DIR/cluster" --listen="$address"
touch "$DIR/go"
wait $bag || fail "the client: $(tail -n 3 "$DIR/bag.err")"

[ "$(wc -l <"$DIR/bag.out")" = $tasks ] || fail "$(wc -l <"$DIR/bag.out") results"
[ "$(sort -n "$DIR/bag.out" | uniq | wc -l)" = $tasks ] || fail "a result came twice"
awk '$2 != "exited" || $3 != 0 { bad = 1; print } END { exit bad }' "$DIR/bag.out" || fail "a task did not end well"
awk '$4 != 1 { bad = 1; print } END { exit bad }' "$DIR/bag.out" || fail "a task ran twice"
[ "$(sort -u "$DIR/ran" | wc -l)" = $tasks ] && [ "$(wc -l <"$DIR/ran")" = $tasks ] || fail "a program ran twice"
