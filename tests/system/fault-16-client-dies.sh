# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# threaded
# FAULTS row 16: the client dies. Detached work goes on and can be waited for again, attached work is cancelled, and nothing is left
# behind: no process, no task, no result that waits for nobody.
. "$SRC/tests/system/lib.sh"

seed=${SEED:-$RANDOM}
echo "seed $seed"
RANDOM=$seed
start_vined cluster --client-timeout=1s
# Without views: tasks say their pids as the test knows them.
start_node n1 --cores=4 --task-limit=4 --tier=plain

started() { [ -s "$DIR/began.$1" ]; }
lines() { [ "$(cat "$1" 2>/dev/null | wc -l)" -ge "$2" ]; } # FILE COUNT
kill_client() { # PID
	kill -KILL "$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
}
somewhere() { lines "$DIR/got" $target || ! alive $client || [ $((RANDOM % 20)) = 0 ]; }
nothing_left() {
	vine status >"$DIR/status" && grep -q ' 0 queued, 0 running, 0 held, 0 ended' "$DIR/status"
}

# ---- attached: by the socket, where a client that is cut off is known to be dead, and by TCP, where it has its time to come back
local_socket=$VINE
for where in "$local_socket" "$(field cluster address)"; do
	: >"$DIR/pids"
	VINE=$where VINE_SECRET=$DIR/cluster/secret post 40 sh -c "echo \$\$ >>$DIR/pids; exec sleep 300" >"$DIR/post.out" &
	client=$!
	poll 20 lines "$DIR/pids" 4
	kill_client $client
	while read -r pid; do poll 30 gone "$pid"; done <"$DIR/pids"
	poll 20 nothing_left
	! lines "$DIR/pids" 5 || fail "after its client was gone, a task was begun: $(wc -l <"$DIR/pids")"
done

# ---- detached: killed at random points of submitting and fetching, again and again
tasks=200
kills=$([ -n "${SOAK-}" ] && echo 100 || echo 8)
: >"$DIR/ran"
: >"$DIR/got"
for ((i = 0; i < kills; i++)); do
	RUN=kept SHOW=task post $tasks key=k{i} sh -c "echo {i} >>$DIR/ran" >>"$DIR/got" 2>"$DIR/post.err" &
	client=$!
	# A few results further, or sooner.
	target=$(($(wc -l <"$DIR/got") + RANDOM % 60))
	poll 30 somewhere
	kill_client $client
done
RUN=kept SHOW=task post $tasks key=k{i} sh -c "echo {i} >>$DIR/ran" >>"$DIR/got" 2>"$DIR/post.err" &
last=$!
all_there() { [ "$(sort -u "$DIR/got" | wc -l)" -ge $tasks ]; }
poll 60 all_there
kill_client $last
[ "$(sort -u "$DIR/got" | wc -l)" = $tasks ] || fail "$(sort -u "$DIR/got" | wc -l) tasks of $tasks: a submit was cut in two"
[ "$(sort "$DIR/ran" | uniq -c | awk '$1 == 1' | wc -l)" = $tasks ] || fail "not every task ran once: $(sort "$DIR/ran" | uniq -d)"
RUN=kept expect 0 bag 0 true
# Only what a client had shown and not yet acknowledged when it was killed may have come to the next one, too.
again=$(sort "$DIR/got" | uniq -d | wc -l)
echo "$tasks tasks, $kills killed clients, $again results shown twice"

# ---- detached goes on for longer than an attached one that was killed with it
RUN=waited bag 1 sh -c "echo \$\$ >$DIR/began.waited; until [ -e $DIR/go ]; do sleep 0.1; done" &
detached=$!
poll 10 started waited
vine run -- sh -c "echo \$\$ >$DIR/began.attached; exec sleep 300" &
attached=$!
poll 10 started attached
kill_client $detached
kill_client $attached
poll 20 gone "$(cat "$DIR/began.attached")"
alive "$(cat "$DIR/began.waited")" || fail "detached work ended with its client"
touch "$DIR/go"
RUN=waited expect 0 bag 0 true
[ "$(wc -l <"$DIR/out")" = 1 ] || fail "the result did not come to the next client: $(cat "$DIR/out")"
grep -q ' exited 0 1$' "$DIR/out" || fail "detached work did not end well: $(cat "$DIR/out")"
RUN=waited expect 0 bag 0 true
[ "$(wc -l <"$DIR/out")" = 0 ] || fail "an acknowledged result came again"

# ---- Ctrl-C cancels
vine run -- sh -c "echo \$\$ >$DIR/began.third; exec sleep 300" &
client=$!
poll 10 started third
kill -INT $client
status=0
wait $client || status=$?
[ $status = 130 ] || fail "interrupted, vine run ended with $status"
poll 20 gone "$(cat "$DIR/began.third")"
poll 20 nothing_left
