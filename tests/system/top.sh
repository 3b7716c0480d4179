# SPDX-License-Identifier: Apache-2.0
# vine top in a terminal that python plays: pages, keys, other sizes; the terminal is as it was whatever ends it; the scheduler goes and comes back.
. "$SRC/tests/system/lib.sh"

python3 -c 'import pty' 2>/dev/null || skip "no python3 with pty"
export TERM=xterm LC_ALL=C.UTF-8
start_vined cluster
start_node n1 --cores=1 --name=n1
# Without a terminal: one screen, one object.
expect 0 vine top
contains "$DIR/out" '0 done'
contains "$DIR/out" 'n1 '
contains "$DIR/out" 'no run yet'
expect 125 vine top nothing
contains "$DIR/err" "no run 'nothing'"
mkfifo "$DIR/go"
expect 0 vine submit --array 1-3 --name sweep --no-files -- sh -c "[ {i} != 1 ] || exit 3; [ {i} != 2 ] || exec cat '$DIR/go'"
poll 20 sh -c "vine top sweep | grep -q 'sweep/2.*running'"
expect 0 vine top sweep
contains "$DIR/out" 'run sweep 1 of 3 over'
contains "$DIR/out" 'exit 3'
expect 0 vine top --json
python3 - "$DIR/out" <<'END' || fail "the object: $(cat "$DIR/out")"
import json, sys
o = json.load(open(sys.argv[1]))
assert o["counts"] == {"done": 0, "failed": 1, "cancelled": 0, "running": 1, "waiting": 1, "held": 0}, o["counts"]
assert [t["state"] for t in o["tasks"]] == ["running", "queued", "delivered"] or len(o["tasks"]) == 3, o["tasks"]
assert o["nodes"][0]["cores_used"] == 1 and o["runs"][0]["tasks"] == 3 and o["waiting"][0]["tasks"] == 1
END

# Pages and keys; a run's tasks, why one failed, and back; smaller and larger; ended by q. Then whatever ends it leaves the terminal as it was.
cat >"$DIR/script" <<'END'
run 80 24 vine top
see 1 failed
see sweep
type \r
see run sweep
see sweep/2
type G\r
see failed: exit status 3; on node n1
type \x1b
gone exit status
type \x1b
see waits
type 3
see connected
type \r
see node n1: what runs there
see sweep/2
type 4/waiting\r
see with 'waiting'
gone sweep/2
type 5
see this machine's cache
type ?
see look closer
resize 200 60
type x
see by size
resize 20 6
see vine
resize 100 30
see +/- pace
type p
see paused
type pq
ends 0
run 80 24 vine top sweep
see run sweep
type \x1a
stopped
signal CONT
see run sweep
type \x03
ends 130
END
for end in TERM=143 HUP=129 QUIT=131 SEGV=139 ABRT=134; do
	printf 'run 80 24 vine top\nsee sweep\nsignal %s\nends %s\n' "${end%=*}" "${end#*=}"
done >>"$DIR/script"
ulimit -c 0
expect 0 python3 "$SRC/tests/system/screen.py" <"$DIR/script"

# The scheduler dies, which the head says, and comes back.
mkfifo "$DIR/keys"
python3 "$SRC/tests/system/screen.py" <"$DIR/keys" >"$DIR/played" 2>&1 &
player=$!
exec 4>"$DIR/keys"
tell() {
	echo "$*" >&4
	poll 30 grep -qxF "$*" "$DIR/played"
}
tell run 100 30 vine top
tell see sweep
crash cluster
tell see no answer since
start_vined cluster
tell gone no answer
tell type q
tell ends 0
tell end
exec 4>&-
wait $player || fail "$(cat "$DIR/played")"
: >"$DIR/go" # the task that waits for it ends
