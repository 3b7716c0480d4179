# SPDX-License-Identifier: Apache-2.0
# The user's own cluster: started by the first command that needs it, found by the others, and by the next when it has crashed.
. "$SRC/tests/system/lib.sh"

state=$HOME/.local/state/vine
owner() { cat "$1/lock"; }

# ---- looking starts nothing
expect 125 vine status
contains "$DIR/err" '`vine run -- COMMAND`'
[ ! -e "$state" ] || fail "looking has made something"

# ---- two at once, from nothing: one cluster, and one line that names it
for i in 1 2; do
	vine run -- echo hello >"$DIR/out.$i" 2>"$DIR/err.$i" &
	pids[i]=$!
done
for i in 1 2; do
	wait "${pids[i]}" || fail "run $i: $(cat "$DIR/err.$i")"
	contains "$DIR/out.$i" hello
done
[ "$(cat "$DIR"/err.[12] | grep -c 'cluster default .* is started')" = 1 ] || fail "said: $(cat "$DIR"/err.[12])"
[ "$(cat "$DIR"/err.[12] | wc -l)" = 1 ] || fail "said: $(cat "$DIR"/err.[12])"
expect 0 vine run -- echo again
[ ! -s "$DIR/err" ] || fail "said again: $(cat "$DIR/err")"
[ "$(vine node status --json | grep -c pid)" = 1 ] || fail "vine node finds another node"

# ---- what has crashed is started again, whatever is left
vined=$(owner "$state/default")
keeper=$(owner "$state/node")
kill -KILL "$vined"
poll 5 gone "$vined"
expect 0 vine status
contains "$DIR/err" 'had lost a daemon'
[ "$(owner "$state/node")" = "$keeper" ] || fail "the node did not need to be started"
kill -KILL "$keeper"
poll 5 gone "$keeper"
expect 0 vine run -- echo there
kill -KILL "$(owner "$state/default")" "$(owner "$state/node")"
poll 5 gone "$(owner "$state/default")"
poll 5 gone "$(owner "$state/node")"
expect 0 vine run -- echo back
contains "$DIR/out" back

# ---- also while a command waits, by that
mkfifo "$DIR/begun" "$DIR/on"
vine run -- sh -c "echo >'$DIR/begun'; read -r _ <'$DIR/on'; echo over" >"$DIR/run.out" 2>"$DIR/run.err" &
command_=$!
read -r _ <"$DIR/begun"
vined=$(owner "$state/default")
kill -KILL "$vined"
poll 10 gone "$vined"
restarted() { [ -n "$(owner "$state/default")" ] && alive "$(owner "$state/default")"; }
poll 10 restarted
echo >"$DIR/on"
wait $command_ || fail "it ended with $?: $(cat "$DIR/run.err")"
contains "$DIR/run.out" over # it may be gone before it could say what it has started

# ---- another one beside it, with two nodes
expect 125 env VINE=b vine run -- true
contains "$DIR/err" '`vine up --name b`'
expect 0 vine up --name b --nodes 2
expect 0 env VINE=b vine status --json
contains "$DIR/out" "$state/b"
contains "$DIR/out" '"name": "n2"'
expect 125 vine up --name b --nodes 3
contains "$DIR/err" 'vine down'
expect 0 vine run -- true

# ---- the end waits for tasks, or is told not to
mkfifo "$DIR/hold"
VINE=b vine run -- sh -c "echo >'$DIR/hold'; exec sleep 100" >"$DIR/held.out" 2>"$DIR/held.err" &
held=$!
read -r _ <"$DIR/hold"
expect 125 vine down --name b
contains "$DIR/err" '1 task of cluster b is not over'
kill -INT $held
wait $held || :
expect 0 vine down --name b
[ "$(cat "$state/b/embedded")" = "vined 0" ] || fail "what is recorded: $(cat "$state/b/embedded")"
expect 125 env VINE=b vine status
contains "$DIR/err" 'is not up'

# ---- from another machine
expect 0 vine down
expect 0 vine up --listen 127.0.0.1:0
address=$(cat "$state/default/address")
contains "$DIR/out" "vine join $address"
expect 125 vine join "$address"
contains "$DIR/err" '--secret=FILE'
expect 0 vine join "$address" --secret "$state/default/secret" --name other --cores 1
expect 0 vine status
contains "$DIR/out" other
expect 0 vine down "$address"
expect 0 vine down
expect 0 vine down
