# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 1: vined dies at any instant, here killed at random points under load: every acknowledged task has its result once.
# fault-01-every-step.sh kills it at each durable step, fault-01-cut-off.sh while a node is cut off.
. "$SRC/tests/system/lib.sh"

kills=$([ -n "${SOAK-}" ] && echo 200 || echo 20)
seed=${SEED:-$RANDOM}
echo "seed $seed"
RANDOM=$seed

start_vined cluster
address=$(field cluster address)
start_node n1 --cores=8 --task-limit=8 --reconnect=100ms
restart() { start cluster 'vined ready' vined --state="$DIR/cluster" --listen="$address"; }
results() { wc -l <"$DIR/bag.out"; }
more_than() { [ "$(results)" -gt "$1" ] || ! alive $bag; }

tasks=$((kills * 60))
bag $tasks sh -c "echo \$VINE_TASK >>$DIR/ran; echo done" >"$DIR/bag.out" 2>"$DIR/bag.err" &
bag=$!
for ((i = 0; i < kills; i++)); do
	poll 60 more_than $((i * 60 + RANDOM % 60))
	crash cluster
	restart
done
wait $bag || fail "the client: $(tail -n 3 "$DIR/bag.err")"
[ "$(results)" = $tasks ] || fail "$(results) results of $tasks"
[ "$(sort -u "$DIR/bag.out" | wc -l)" = $tasks ] || fail "a result came twice"
twice=$(sort "$DIR/ran" | uniq -d | wc -l)
echo "$tasks tasks under $kills kills; $twice ran a second time (attempts not yet recorded)"
