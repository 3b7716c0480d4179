# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# once
# FAULTS row 1: vined dies at every durable step of its first start, of a later start, and of submit, dispatch, result, acknowledgement
# and end, one kill each. The acknowledged task has its result once, and what was half made is no hindrance to the next start.
. "$SRC/tests/system/lib.sh"

command -v strace >"$DIR/found" || skip "no strace"
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" # it cannot look for them under strace
steps_most=200
swept=0

# strace counts each call of each thread by itself. So each call has a sweep of its own, and so have the threads: a start is the
# main thread's, and strace comes to a running vined for the writer's.
traced() { # CALL STEP VINED...|-p PID: kills it at its STEPth CALL
	local call=$1 step=$2
	shift 2
	: >"$DIR/traced.out" # here, lest the ready line of the last one be taken for this one's
	(
		strace -f -qq -o "$DIR/strace" -e trace="$call" -e inject="$call:signal=SIGKILL:when=$step" "$@"
		exit $?
	) >>"$DIR/traced.out" 2>>"$DIR/traced.log" </dev/null &
	tracer=$!
}
sweep() { # WHAT CALLS KILL_AT: KILL_AT CALL STEP returns 1 when there were fewer such calls
	local call step
	for call in $2; do
		step=1
		while "$3" "$call" $step; do
			step=$((step + 1))
			[ $step -lt $steps_most ] || fail "$1: no end of $call"
		done
		echo "$1: killed at $((step - 1)) calls of $call"
		swept=$((swept + step - 1))
	done
}
was_killed() { # PROCESS STATUS
	[ "$2" = 0 ] || [ "$2" = 137 ] || fail "$1 ended with $2: $(tail -n 5 "$DIR"/*.log)"
	[ "$2" = 137 ]
}

# ---- starts, the first ones with directory, secret and database to make, the later ones with work to take up
started() { grep -q '^vined ready' "$DIR/traced.out" || ! alive $tracer; }
kill_start() { # CALL STEP STATE
	local pid status=0
	traced "$1" "$2" vined --state="$3" --listen="${address-127.0.0.1:0}"
	poll 30 started
	pid=$(sed -n 's/^vined ready.* pid=\([0-9]*\).*/\1/p' "$DIR/traced.out")
	[ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || :
	wait $tracer || status=$?
	was_killed "the start at $1 $2" $status
}
kill_first_start() {
	rm -rf "$DIR/first"
	kill_start "$@" "$DIR/first" || return 1
	start first 'vined ready' vined --state="$DIR/first" --listen=127.0.0.1:0
	[ "$(stat -c %a "$DIR/first/secret")" = 600 ] && [ "$(wc -c <"$DIR/first/secret")" = 65 ] || fail "$*: a bad secret"
	stop first
}
sweep "first start" 'pwrite64 fdatasync fsync write rename unlink' kill_first_start

start_vined cluster
address=$(field cluster address)
start_node n1 --cores=2 --reconnect=100ms
RUN=waiting bag 3 sh -c "echo \$VINE_TASK >>$DIR/waiting; until [ -e $DIR/go ]; do sleep 0.1; done" >"$DIR/waiting.out" 2>"$DIR/waiting.err" &
waiting=$!
begun() { [ "$(wc -l <"$DIR/waiting")" = 2 ]; }
poll 20 begun
crash cluster
kill_later_start() { kill_start "$@" "$DIR/cluster"; }
sweep "later start" 'pwrite64 fdatasync write rename unlink' kill_later_start

# ---- work
ended() { ! alive $bag; }
ended_or_killed() { ended || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null || echo Z)" = Z ]; }
is_traced() { ! grep -hq '^TracerPid:	0$' "/proc/$1"/task/*/status; }
restart() { start cluster 'vined ready' vined --state="$DIR/cluster" --listen="$address"; }
kill_at_work() { # CALL STEP
	local run=$1-$2 status=0 pid
	restart
	pid=${pid_of[cluster]}
	traced "$1" "$2" -p "$pid"
	poll 20 is_traced "$pid"
	RUN=$run bag 1 sh -c "echo $run >>$DIR/steps" >"$DIR/bag.out" 2>"$DIR/bag.err" &
	bag=$!
	poll 30 ended_or_killed "$pid"
	kill -TERM "$pid" 2>/dev/null || :
	unset "pid_of[cluster]"
	wait "$pid" 2>/dev/null || status=$?
	wait $tracer || :
	if was_killed "$run" $status; then
		restart
		poll 30 ended
		stop cluster
	fi
	wait $bag || fail "$run: $(tail -n 3 "$DIR/bag.err")"
	[ "$(wc -l <"$DIR/bag.out")" = 1 ] || fail "$run: not one result: $(cat "$DIR/bag.out")"
	grep -qx -- "$run" "$DIR/steps" || fail "$run: the task did not run"
	[ $status = 137 ]
}
restart
touch "$DIR/go"
wait $waiting || fail "what waited during the starts: $(cat "$DIR/waiting.err")"
[ "$(wc -l <"$DIR/waiting.out")" = 3 ] && [ "$(sort "$DIR/waiting" | uniq -d | wc -l)" = 0 ] ||
	fail "what waited during the starts: $(cat "$DIR/waiting.out" "$DIR/waiting")"
stop cluster
sweep work 'pwrite64 fdatasync write unlink' kill_at_work
[ $swept -gt 60 ] || fail "the sweeps did not sweep: $swept kills"
