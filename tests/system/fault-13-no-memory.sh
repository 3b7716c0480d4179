# SPDX-License-Identifier: Apache-2.0
# A task over its memory ends alone, and its result says so: by the kernel where it limits, else by looking. A daemon without memory aborts, is started again, and loses nothing.
# deadline: 120
# once
. "$SRC/tests/system/lib.sh"

cat >"$DIR/eat.py" <<'PY'
import sys, time
held = []
for mib in range(int(sys.argv[1])):
    held.append(b"x" * (1 << 20))
    if len(sys.argv) > 2:
        time.sleep(float(sys.argv[2]))
print("ate it")
time.sleep(float(sys.argv[3]) if len(sys.argv) > 3 else 0)
PY

check_limit() { # HOW
	local beside
	vine run -- sh -c "until [ -e $DIR/go ]; do sleep 0.05; done; echo beside" >"$DIR/beside" 2>&1 &
	beside=$!
	# Slowly enough to be looked at, then much at once.
	for pace in 0.005 0; do
		# Held for a while, for looking sees nothing between two looks.
		expect 137 vine run --mem 100M -- python3 "$DIR/eat.py" 400 $pace 20
		contains "$DIR/err" "memory"
		contains "$DIR/err" "100M"
		contains "$DIR/err" "on node n1"
		[ $pace = 0 ] || contains "$DIR/err" "$1"
	done
	# Below it nothing happens; and of a child, too, the whole task ends.
	expect 0 vine run --mem 300M -- python3 "$DIR/eat.py" 60
	contains "$DIR/out" "ate it"
	expect 137 vine run --mem 100M -- sh -c "python3 $DIR/eat.py 400 0.005; sleep 100"
	touch "$DIR/go"
	wait $beside || fail "a task beside one over its limit has ended with $?"
	[ "$(cat "$DIR/beside")" = beside ] || fail "a task beside one over its limit: $(cat "$DIR/beside")"
	rm "$DIR/go"
}

start_vined cluster
start_node n1 --name=n1 --cores=4 --memory=4G
if grep -q "memory by version" <<<"$(vine doctor)"; then
	check_limit "cgroup v"
else
	echo "no cgroup can be written here"
fi
stop n1
start_node n1 --name=n1 --cores=4 --memory=4G --cgroup=none
check_limit "more than its 100M"
stop n1

# A daemon that gets no more memory: what ran goes on, what was asked is done, and once.
start_node n1 --name=n1 --cores=4
node_pid() { # of vinefs, the keeper's child of that name
	local each
	for each in $(cat "/proc/${pid_of[n1]}/task/${pid_of[n1]}/children"); do
		[ "$(cat "/proc/$each/comm")" != vinefs ] || echo "$each"
	done
}
starve() { prlimit --pid "$1" --as=1; }
restarted() { local now; now=$(node_pid); [ -n "$now" ] && [ "$now" != "$1" ]; }
vine run -- sh -c "until [ -e $DIR/go ]; do sleep 0.05; done; echo went on; echo x >>$DIR/times" >"$DIR/beside" 2>&1 &
beside=$!
begun() { [ -n "$(ls "$DIR/n1/s" 2>/dev/null)" ]; }
poll 20 begun
before=$(node_pid)
starve "$before"
word=$(printf 'a%.0s' {1..100000})
long=(sh "$word" "$word" "$word" "$word" "$word" "$word")
for i in 1 2 3 4 5 6 7 8; do
	vine run -- sh -c 'echo $#' "${long[@]}" >"$DIR/long.$i" 2>&1 &
	longs[i]=$!
done
poll 30 restarted "$before"
for i in 1 2 3 4 5 6 7 8; do
	wait "${longs[i]}" || fail "a task whose node had no memory ended with $?: $(cut -c 1-300 "$DIR/long.$i")"
	[ "$(cat "$DIR/long.$i")" = 6 ] || fail "its result: $(cut -c 1-300 "$DIR/long.$i")"
done
touch "$DIR/go"
wait $beside || fail "a task that ran while its node's vinefs died ended with $?"
[ "$(cat "$DIR/beside")" = "went on" ] || fail "it did not go on: $(cat "$DIR/beside")"
[ "$(wc -l <"$DIR/times")" = 1 ] || fail "it ran twice"

# The scheduler likewise.
rm "$DIR/go"
vine run --name=kept -- sh -c "until [ -e $DIR/go ]; do sleep 0.05; done; echo kept" >"$DIR/beside" 2>&1 &
beside=$!
poll 20 begun
starve "${pid_of[cluster]}"
for i in {1..24}; do
	vine run -- true "${long[@]}" >"$DIR/true.$i" 2>&1 &
	longs[i]=$!
done
ended() { [ ! -e "/proc/$1" ] || [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status")" = Z ]; }
poll 30 ended "${pid_of[cluster]}"
wait "${pid_of[cluster]}" 2>/dev/null || :
start_vined cluster
touch "$DIR/go"
wait $beside || fail "a task whose scheduler had no memory ended with $?: $(cat "$DIR/beside")"
[ "$(cat "$DIR/beside")" = kept ] || fail "its result: $(cat "$DIR/beside")"
for i in {1..24}; do
	wait "${longs[i]}" || fail "what was submitted to it ended with $?: $(cut -c 1-300 "$DIR/true.$i")"
done
