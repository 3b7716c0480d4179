# SPDX-License-Identifier: Apache-2.0
# What a task does wrong stays its own trouble: a fork bomb, a disk that it fills, a SIGTERM that it ignores, daemons that it leaves behind. It ends, all of it goes, and others never notice.
# deadline: 150
# once
. "$SRC/tests/system/lib.sh"

cat >"$DIR/bomb.py" <<'PY'
import os, sys, time
slow = len(sys.argv) > 1  # one that only looking can meet must not be faster than that on a busy machine
while True:
    try:
        if os.fork() == 0 and slow:
            time.sleep(1000)
    except OSError:
        time.sleep(0.01)
    if slow:
        time.sleep(0.002)
PY
cat >"$DIR/daemons.sh" <<'SH'
for i in 1 2 3; do
	setsid sh -c 'setsid sh -c "exec sleep 7654321" & exec sleep 7654321' >/dev/null 2>&1 &
done
exit 0
SH

processes_of() { # TEXT: how many processes have it in their command line
	local each n=0
	for each in /proc/[0-9]*; do
		! { tr '\0' ' ' <"$each/cmdline" | grep -qF -e "$1"; } 2>/dev/null || n=$((n + 1))
	done
	echo $n
}
none_of() { [ "$(processes_of "$1")" = 0 ]; }
# This node's, for others on the machine may have its name: its directory of sandboxes tells.
groups() { find /sys/fs/cgroup -type d -path "*/vine-n1.$(printf %x "$(stat -c %i "$DIR/n1/s")")$1" 2>/dev/null; }
no_groups() { [ -z "$(groups "$1")" ]; }

# One that others must not harm, all along.
begun() { grep -q . "$DIR"/n1/s/*/out; }
bystander() {
	vine run -- sh -c "until [ -e $DIR/done ]; do echo . ; sleep 0.1; done; echo unharmed" >"$DIR/bystander" 2>&1 &
	beside=$!
	poll 20 begun
}

misbehave() { # [slow]
	rm -f "$DIR/done"
	bystander
	# Processes: as asked for, and as the node says.
	expect 137 vine run --processes 50 -- python3 "$DIR/bomb.py" $1
	contains "$DIR/err" "its 50 processes and threads"
	contains "$DIR/err" "on node n1"
	poll 10 none_of bomb.py
	expect 137 vine run -- python3 "$DIR/bomb.py" $1
	contains "$DIR/err" "its 200 processes and threads"
	poll 10 none_of bomb.py

	# Its disk, by one large file and by many small ones.
	expect 137 vine run --disk 20M -- sh -c 'while :; do head -c 1000000 /dev/zero; sleep 0.005; done >large'
	contains "$DIR/err" "more than its 20M of disk, on node n1"
	expect 137 vine run --disk 20M -- sh -c 'i=0; while :; do i=$((i + 1)); head -c 100000 /dev/zero >f$i; done'
	contains "$DIR/err" "of disk"

	# It will not hear of an end: wall time, then SIGKILL after its grace.
	expect 124 vine run --wall-time 1s --grace 1s -- sh -c "trap '' TERM; while :; do sleep 0.1; done"
	contains "$DIR/err" "it ran longer than its 1s, on node n1"

	# Daemons that left their session, twice.
	expect 0 vine run -- sh "$DIR/daemons.sh"
	poll 10 none_of 7654321

	touch "$DIR/done"
	wait $beside || fail "a task beside them has ended with $?"
	grep -q unharmed "$DIR/bystander" || fail "a task beside them: $(tail -n 3 "$DIR/bystander")"
	poll 20 no_groups '/*'
}

start_vined cluster
start_node n1 --name=n1 --cores=4 --task-processes=200
misbehave ""
stop n1
start_node n1 --name=n1 --cores=4 --task-processes=200 --cgroup=none
misbehave slow
stop n1
no_groups '' || fail "a group of the node is left: $(groups '')"
