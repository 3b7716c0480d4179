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

# Every durable step of start, submit, dispatch, result and acknowledgement, one kill each. strace counts each call by itself, so each
# has a sweep of its own: in one for all, the call made most often would come first every time.
command -v strace >"$DIR/found" || exit 0
stop cluster

ended() { ! alive $traced || ! alive $bag; }

kill_at() { # CALL STEP: returns 1 when vined made fewer such calls and lived
	local run=$1-$2
	ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" strace -f -qq -o "$DIR/strace" -e trace=$1 \
		-e inject=$1:signal=SIGKILL:when=$2 \
		vined --state="$DIR/cluster" --listen="$address" >"$DIR/traced.out" 2>>"$DIR/traced.log" &
	traced=$!
	RUN=$run bag 1 sh -c "echo $run >>$DIR/steps" >"$DIR/bag.out" 2>"$DIR/bag.err" &
	bag=$!
	local lived=0
	poll 30 ended
	if alive $traced; then
		lived=1
		wait $bag || fail "$run: $(tail -n 3 "$DIR/bag.err")"
		kill -TERM "$(pgrep -P $traced -x vined)"
		wait $traced || :
	else
		wait $traced || :
		restart
		wait $bag || fail "$run: $(tail -n 3 "$DIR/bag.err")"
		stop cluster
	fi
	[ "$(results)" = 1 ] || fail "$run: $(results) results"
	grep -qx -- "$run" "$DIR/steps" || fail "$run: the task did not run"
	return $lived
}

swept=0
for call in pwrite64 fdatasync fsync write rename unlink; do
	step=1
	while kill_at $call $step; do
		step=$((step + 1))
		[ $step -lt 200 ] || fail "no end of $call"
	done
	echo "$call: killed at $((step - 1)) of them"
	swept=$((swept + step - 1))
done
[ $swept -gt 20 ] || fail "the sweep did not sweep"
