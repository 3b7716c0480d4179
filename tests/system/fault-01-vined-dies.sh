# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# FAULTS row 1: vined dies at any instant. Killed at random points under load, then at every durable step: every acknowledged task
# has its result once.
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

# Every durable step of start, submit, dispatch, result and acknowledgement, one kill each.
command -v strace >"$DIR/found" || exit 0
stop cluster
step=0
survived=no
until [ $survived = yes ]; do
	step=$((step + 1))
	[ $step -lt 400 ] || fail "no end of durable steps"
	ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" strace -f -qq -o "$DIR/strace" -e trace=pwrite64,fdatasync,fsync,rename,unlink \
		-e inject=pwrite64,fdatasync,fsync,rename,unlink:signal=SIGKILL:when=$step \
		vined --state="$DIR/cluster" --listen="$address" >"$DIR/traced.out" 2>>"$DIR/traced.log" &
	traced=$!
	RUN=step$step bag 1 sh -c "echo $step >>$DIR/steps" >"$DIR/bag.out" 2>"$DIR/bag.err" &
	bag=$!
	ended() { ! alive $traced || ! alive $bag; }
	poll 30 ended
	if alive $traced; then
		survived=yes
		kill -TERM "$(pgrep -P $traced -x vined)"
		wait $traced || :
		wait $bag
	else
		wait $traced || :
		restart
		poll 30 gone $bag
		wait $bag || fail "step $step: $(tail -n 3 "$DIR/bag.err")"
		stop cluster
	fi
	[ "$(results)" = 1 ] || fail "step $step: $(results) results"
	grep -qx $step "$DIR/steps" || fail "step $step: the task did not run"
done
echo "$step durable steps"
[ $step -gt 10 ] || fail "the sweep did not sweep"
