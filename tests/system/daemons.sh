# SPDX-License-Identifier: Apache-2.0
# How the daemons start, refuse to start twice, detach, and stop.
# threaded
. "$SRC/tests/system/lib.sh"

start_vined cluster
[ "$(stat -c %a "$DIR/cluster")" = 700 ] || fail "the state directory is open to others"
[ "$(stat -c %a "$DIR/cluster/secret")" = 600 ] || fail "the secret is open to others"
[ "$(stat -c %a "$(field cluster socket)")" = 600 ] || fail "the socket is open to others"
[ "$(cat "$DIR/cluster/address")" = "$(field cluster address)" ] || fail "STATE/address is not the address"
pid=$(field cluster pid)
expect 125 vined --state="$DIR/cluster" --listen=127.0.0.1:0
contains "$DIR/err" "$pid"
contains "$DIR/err" "$DIR/cluster"
[ "$(wc -l <"$DIR/err")" = 1 ] || fail "more than one line: $(cat "$DIR/err")"

start_node n1
node=$(field n1 node)
expect 125 vinefs --state="$DIR/n1" --vined="$(field cluster address)" --secret="$DIR/cluster/secret"
contains "$DIR/err" "$DIR/n1"
stop n1
start_node n1
[ "$(field n1 node)" = "$node" ] || fail "the node id changed over a restart"

# Boot numbers rise, the cluster stays the same; the node and a waiting client come back by themselves.
boot=$(field cluster boot)
uuid=$(field cluster cluster)
address=$(field cluster address)
stop cluster
start cluster 'vined ready' vined --state="$DIR/cluster" --listen="$address"
[ "$(field cluster boot)" -gt "$boot" ] || fail "the boot number did not rise"
[ "$(field cluster cluster)" = "$uuid" ] || fail "the cluster's uuid changed"
expect 0 vine run -- echo back
contains "$DIR/out" back

# SIGINT is as good as SIGTERM.
kill -INT "${pid_of[n1]}"
poll 10 gone "${pid_of[n1]}"
wait "${pid_of[n1]}" || fail "vinefs ended with $? on SIGINT"
unset "pid_of[n1]"
stop cluster

# Detached: the command returns once it is ready, says the same line, and the daemon goes on.
expect 0 vined --state="$DIR/other" --listen=127.0.0.1:0 --detach
contains "$DIR/out" "vined ready"
pid=$(sed -n 's/.* pid=\([0-9]*\).*/\1/p' "$DIR/out")
VINE=$DIR/other expect 0 vine status
expect 0 vinefs --state="$DIR/n2" --vined="$(cat "$DIR/other/address")" --secret="$DIR/other/secret" --detach
contains "$DIR/out" "vinefs ready"
VINE=$DIR/other expect 0 vine run -- echo detached
contains "$DIR/out" detached
# One that fails says why to whoever started it.
expect 125 vined --state="$DIR/third" --listen="$(cat "$DIR/other/address")" --detach
contains "$DIR/err" "$(cat "$DIR/other/address")"
node_pid=$(cat "$DIR/n2/lock")
kill -TERM "$node_pid" "$pid"
poll 15 gone "$node_pid"
poll 15 gone "$pid"
