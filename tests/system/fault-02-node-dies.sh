# SPDX-License-Identifier: Apache-2.0
# deadline: 90
# FAULTS row 2: a node dies, by kill -9 of all its processes or with its machine. Its tasks run elsewhere, which costs the user no
# retry, and a task under which crash-limit nodes died is held with that reason.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/net-lib"


tree() { # PID: it and all below it
	local each
	echo "$1"
	for each in $(pgrep -P "$1"); do tree "$each"; done
}
kill_tree() { # NAME
	local pid=${pid_of[$1]} all
	mapfile -t all < <(tree "$pid")
	unset "pid_of[$1]"
	kill -KILL "${all[@]}"
	wait "$pid" 2>/dev/null || :
	poll 10 all_gone "${all[@]}"
}
all_gone() {
	local each
	for each; do ! alive "$each" || return 1; done
}

hub_vined cluster --node-timeout=500ms --crash-limit=2

# ---- all its processes are killed: the connection ends at once
start_node n1 --name=n1 --cores=4
SHOW="task how status attempts out" post 4 sh -c "$TASK" {i} >"$DIR/killed" 2>"$DIR/post.err" &
post=$!
poll 20 attempts n1 4
kill_tree n1
touch "$DIR/go.n2"
start_node n2 --name=n2 --cores=4
wait $post || fail "$(cat "$DIR/post.err")"
[ "$(grep -c ' exited 0 2 n2$' "$DIR/killed")" = 4 ] || fail "4 tasks of a dead node: $(cat "$DIR/killed")"
[ "$(wc -l <"$DIR/killed")" = 4 ] || fail "a result came twice: $(cat "$DIR/killed")"
[ "$(wc -l <"$DIR/ran")" = 8 ] || fail "8 attempts were to be seen: $(cat "$DIR/ran")"

# ---- its machine is gone: nobody closes the connection
far_node n3 --cores=4
stop n2
: >"$DIR/ran"
rm "$DIR/go.n2"
SHOW="task how status attempts out" post 4 sh -c "$TASK" {i} >"$DIR/off" 2>"$DIR/post.err" &
post=$!
poll 20 attempts n3 4
power_off n3
hang_up n3
touch "$DIR/go.n2"
start_node n2 --name=n2 --cores=4
wait $post || fail "$(cat "$DIR/post.err")"
[ "$(grep -c ' exited 0 2 n2$' "$DIR/off")" = 4 ] || fail "4 tasks of a node without power: $(cat "$DIR/off")"
[ "$(wc -l <"$DIR/ran")" = 8 ] || fail "8 attempts were to be seen: $(cat "$DIR/ran")"
stop n2

# ---- two nodes die under one task: it is held, and no third one gets it
: >"$DIR/ran"
rm "$DIR/go.n2"
vine run -- sh -c "$TASK" 1 2>"$DIR/held.err" &
held=$!
for node in n4 n5; do
	start_node $node --name=$node
	poll 20 attempts $node 1
	kill_tree $node
done
said() { grep -q 'waiting: .*\(nodes\|node\) were lost under it' "$DIR/held.err"; }
poll 20 said
start_node n6 --name=n6
expect 0 vine run -- true
expect 0 vine status
contains "$DIR/out" '1 held'
[ "$(wc -l <"$DIR/ran")" = 2 ] || fail "it went on: $(cat "$DIR/ran")"
kill -INT $held
wait $held || :
nothing_left() { vine status >"$DIR/status" && grep -q ' 0 queued, 0 running, 0 held, 0 ended' "$DIR/status"; }
poll 20 nothing_left
