# SPDX-License-Identifier: Apache-2.0
# Limits hold over the death of vinefs: wall time goes on being counted, memory and processes go on being limited, and what the kernel killed meanwhile is told.
# deadline: 90
# once
. "$SRC/tests/system/lib.sh"

cat >"$DIR/later.py" <<'PY'
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
held = []
while len(sys.argv) < 3:
    held.append(b"x" * (1 << 20))
    time.sleep(0.002)
try:
    last = [os.fork() for each in range(4)][-1]
except OSError: # whoever was refused waits for the look at him
    last = 1
if last:
    time.sleep(1000)
PY
node_pid() {
	local each
	for each in $(cat "/proc/${pid_of[n1]}/task/${pid_of[n1]}/children"); do
		[ "$(cat "/proc/$each/comm")" != vinefs ] || echo "$each"
	done
}
n_running() { [ "$(find "$DIR"/n1/s -mindepth 1 -maxdepth 1 -name "[0-9]*" | wc -l)" = "$1" ]; }
restart() { # kills vinefs; what "$@" does happens while it is stopped, before
	local pid
	pid=$(node_pid)
	kill -STOP "$pid"
	"$@"
	kill -KILL "$pid"
	restarted() { local now; now=$(node_pid); [ -n "$now" ] && [ "$now" != "$pid" ]; }
	poll 10 restarted
}

all_begun() { [ "$(find "$DIR" -maxdepth 1 -name 'begun.*' | wc -l)" = 3 ]; }

check() { # SECONDS that the wall test may take in all
	local began ended
	rm -f "$DIR/go" "$DIR/never" "$DIR"/begun.*
	poll 20 n_running 0
	began=$EPOCHREALTIME
	vine run --wall-time 4s -- sh -c "echo >$DIR/begun.wall; exec sleep 1000" >"$DIR/wall" 2>&1 &
	local wall=$!
	vine run --mem 100M -- sh -c "echo >$DIR/begun.memory; exec python3 $DIR/later.py $DIR/go" >"$DIR/memory" 2>&1 &
	local memory=$!
	vine run --processes 5 -- sh -c "echo >$DIR/begun.processes; exec python3 $DIR/later.py $DIR/go processes" >"$DIR/processes" 2>&1 &
	local processes=$!
	poll 20 all_begun # seen late, the one of 4 s may be over
	restart true
	touch "$DIR/go"
	status=0; wait $memory || status=$?
	[ $status = 137 ] || fail "memory: ended with $status: $(cat "$DIR/memory")"
	contains "$DIR/memory" "its 100M"
	status=0; wait $processes || status=$?
	[ $status = 137 ] || fail "processes: ended with $status: $(cat "$DIR/processes")"
	contains "$DIR/processes" "its 5 processes and threads"
	status=0; wait $wall || status=$?
	ended=$EPOCHREALTIME
	[ $status = 124 ] || fail "wall time: ended with $status: $(cat "$DIR/wall")"
	contains "$DIR/wall" "it ran longer than its 4s, on node n1"
	local msec=$(((${ended/./} - ${began/./}) / 1000))
	[ $msec -ge 3900 ] || fail "ended after $msec ms of its 4000"
}

killed() { ! pgrep -f "^python3 $DIR/later.py" >/dev/null; }
eat_while_stopped() {
	touch "$DIR/go"
	poll 20 killed
}

start_vined cluster
start_node n1 --name=n1 --cores=4 --keep-failed=0s
check
if grep -q "memory by version" <<<"$(vine doctor)"; then
	# By the kernel, while nobody looks.
	rm "$DIR/go"
	poll 20 n_running 0
	vine run --mem 100M -- python3 "$DIR/later.py" "$DIR/go" >"$DIR/memory" 2>&1 &
	memory=$!
	poll 20 n_running 1
	restart eat_while_stopped
	status=0; wait $memory || status=$?
	[ $status = 137 ] || fail "killed meanwhile: ended with $status: $(cat "$DIR/memory")"
	contains "$DIR/memory" "it wanted more than its 100M of memory"
fi
stop n1
start_node n1 --name=n1 --cores=4 --keep-failed=0s --cgroup=none
check
