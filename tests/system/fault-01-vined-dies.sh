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
tasks=$((kills * 30)) # and as many that read what they leave
export RUN=work SHOW="task how status"
post $tasks out=o@x{i} sh -c "echo {i} >>$DIR/made; echo m{i} >>$DIR/ran; echo {i} >o" >"$DIR/made.out" 2>"$DIR/made.err" &
makers=$!
has_some() { [ -s "$DIR/made.out" ]; }
poll 30 has_some
post $tasks in=temp:x{i}@i sh -c "grep -qx {i} $DIR/made && grep -qx {i} i || exit 1; echo r{i} >>$DIR/ran" >"$DIR/read.out" 2>"$DIR/read.err" &
readers=$!
results() { cat "$DIR/made.out" "$DIR/read.out" | wc -l; }
more_than() { [ "$(results)" -gt "$1" ] || ! alive $readers; }
for ((i = 0; i < kills; i++)); do
	poll 60 more_than $((i * 60 + RANDOM % 60))
	crash cluster
	restart
done
wait $makers || fail "the makers' client: $(tail -n 3 "$DIR/made.err")"
wait $readers || fail "the readers' client: $(tail -n 3 "$DIR/read.err")"
for each in made read; do
	[ "$(grep -c ' exited 0$' "$DIR/$each.out")" = $tasks ] || fail "$each: not $tasks good results: $(grep -v ' exited 0$' "$DIR/$each.out")"
done
[ "$(results)" = $((2 * tasks)) ] || fail "$(results) results of $((2 * tasks))"
[ "$(cat "$DIR/made.out" "$DIR/read.out" | sort -u | wc -l)" = $((2 * tasks)) ] || fail "a result came twice"
twice=$(sort "$DIR/ran" | uniq -d | wc -l)
echo "$((2 * tasks)) tasks under $kills kills; $twice ran a second time (attempts not yet recorded)"
