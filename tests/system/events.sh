# SPDX-License-Identifier: Apache-2.0
# vine events: the latest, those of a run or a task, and as they happen, over vined's death without a gap and without one twice.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4 --name=n1
lines() { [ "$(grep -c -e "$1" "$2")" = "$3" ] || fail "not $3 lines with '$1': $(cat "$2")"; }

has_joined() { vine events | grep -q node-joined; }
poll 20 has_joined # nobody waits for the database
env --default-signal=INT vine events -f --json --since 1h >"$DIR/all" 2>"$DIR/all.err" &
all=$!
vine submit --array 1-20 --name one -- sh -c '[ "$1" != 7 ]' sh {i} >/dev/null
expect 1 vine wait one

# ---- what was
expect 0 vine events -n 1000 one
lines ' submitted ' "$DIR/out" 1
lines '20 elements' "$DIR/out" 1
lines ' started ' "$DIR/out" 20
lines ' ended .* one .* n1 .* exit status 0$' "$DIR/out" 19
lines ' exit status 1$' "$DIR/out" 1
sort -c -s -k 1,2 "$DIR/out" || fail "not in order: $(cat "$DIR/out")"
expect 0 vine events -n 3
[ "$(wc -l <"$DIR/out")" = 3 ] || fail "not the latest three: $(cat "$DIR/out")"
expect 0 vine events one/7
lines . "$DIR/out" 3
contains "$DIR/out" 'exit status 1'
expect 0 vine events --since 1h one
lines . "$DIR/out" 41
expect 0 vine events --since '2000-01-01 10:00' -n 2 one
lines . "$DIR/out" 2
expect 0 vine events --since 0
[ ! -s "$DIR/out" ] || fail "since now: $(cat "$DIR/out")"
expect 125 vine events --since yesterday
contains "$DIR/err" "as in 14:30"
expect 125 vine events nothing

# ---- as it happens: of a run until it is over
mkfifo "$DIR/go"
vine submit --name two -- sh -c "read -r _ <'$DIR/go'" >/dev/null
vine events -f -n 10 two >"$DIR/two" 2>&1 &
two=$!
poll 20 grep -q started "$DIR/two"
alive $two || fail "it did not wait for the end of the run"
echo >"$DIR/go"
wait $two || fail "status $?"
lines ' ended .* exit status 0$' "$DIR/two" 1
expect 0 vine events -f two

# ---- while vined is away tasks end; what it is told then, and what comes later, is told once
ended() { grep -c '"event": "ended"' "$DIR/all"; }
has() { [ "$(ended)" = "$1" ]; }
poll 20 has 21
mkfifo "$DIR/go1" "$DIR/go2" "$DIR/go3"
vine submit --array 1-3 --name three -- sh -c "read -r _ <'$DIR/go{i}'" >/dev/null
running() { vine status three | grep -q '3 running'; }
poll 20 running
begun() { [ "$(grep -c '"event": "started"' "$DIR/all")" = 24 ]; }
poll 20 begun
crash cluster
for i in 1 2 3; do echo >"$DIR/go$i"; done
start cluster 'vined ready' vined --state="$DIR/cluster" --listen="$(cat "$DIR/cluster/address")"
vine run -J four -- true
poll 40 has 25
kill -INT $all
wait $all && fail 'Ctrl-C did not end it'
[ "$(grep '"event": "ended"' "$DIR/all" | sort -u | wc -l)" = 25 ] || fail "an end told twice: $(cat "$DIR/all")"
for event in submitted:4 ended:25; do
	lines "\"event\": \"${event%:*}\"" "$DIR/all" "${event#*:}"
done
[ "$(grep '"event": "started"' "$DIR/all" | sed 's/.*"task": \([0-9]*\).*/\1/' | sort -u | wc -l)" = 25 ] || fail "$(cat "$DIR/all")"
grep -qv '^{"at": ".*}$' "$DIR/all" && fail "not an object a line: $(cat "$DIR/all")"
contains "$DIR/all" '"event": "started", "task": 1, "run": "one", "node": "n1", "text": "attempt 1"'

# ---- who follows a run that is forgotten meanwhile has seen all of it
vine submit --name gone -- sh -c "read -r _ <'$DIR/go'" >/dev/null
vine events -f -n 10 gone >"$DIR/gone" 2>&1 &
gone=$!
poll 20 grep -q started "$DIR/gone"
kill -STOP $gone
echo >"$DIR/go"
expect 0 vine wait gone
expect 0 vine forget gone
kill -CONT $gone
wait $gone || fail "status $? of a run that was forgotten meanwhile: $(cat "$DIR/gone")"
