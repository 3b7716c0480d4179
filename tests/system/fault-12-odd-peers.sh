# SPDX-License-Identifier: Apache-2.0
# FAULTS row 12: what fault-12-fuzzed-peer.sh found, each by itself.
. "$SRC/tests/system/lib.sh"

start_vined cluster --node-timeout=500ms
for each in joins replicas forget; do
	expect 0 odd "$VINE" $each
	expect 0 vine status
done

# What was submitted is there, also after a restart.
crash cluster
start_vined cluster
! grep 'belong to no run' "$DIR/cluster.log" || fail "an acknowledged task lost its run"
start_node n1 --name=n1
RUN=odd expect 0 post 0
[ "$(grep -c ' exited 0 1$' "$DIR/out")" = 1 ] || fail "the task that was submitted is lost: $(cat "$DIR/out")"

# An attempt is over when its own node says so.
expect 0 vine run -- true
vine run -- sh -c "echo \$VINE_TASK \$VINE_ATTEMPT >$DIR/it; until [ -e $DIR/go ]; do sleep 0.1; done; exit 7" &
client=$!
begun() { [ -s "$DIR/it" ]; }
poll 20 begun
read -r task attempt <"$DIR/it"
expect 0 odd "$VINE" ended "$task" "$attempt"
touch "$DIR/go"
status=0
wait $client || status=$?
[ $status = 7 ] || fail "the word of another node counted: status $status"
