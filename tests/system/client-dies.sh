# SPDX-License-Identifier: Apache-2.0
# deadline: 90
# threaded
# The submitting process is killed: attached work is cancelled, a named run goes on and can be waited for again.
. "$SRC/tests/system/lib.sh"

start_vined cluster --client-timeout=1s
start_node n1 --cores=4

started() { [ -e "$DIR/began.$1" ]; }
vine run -- sh -c "echo \$\$ >$DIR/began.attached; exec sleep 300" &
client=$!
poll 10 started attached
kill -KILL $client
wait $client || :
poll 20 gone "$(cat "$DIR/began.attached")"

mkfifo "$DIR/fifo"
RUN=kept bag 1 sh -c "touch $DIR/began.kept; cat $DIR/fifo" &
client=$!
poll 10 started kept
kill -KILL $client
wait $client || :
echo go >"$DIR/fifo"
RUN=kept expect 0 bag 0 true
[ "$(wc -l <"$DIR/out")" = 1 ] || fail "the result did not come to the next client: $(cat "$DIR/out")"
RUN=kept expect 0 bag 0 true
[ "$(wc -l <"$DIR/out")" = 0 ] || fail "an acknowledged result came again"

# Ctrl-C cancels.
vine run -- sh -c "echo \$\$ >$DIR/began.third; exec sleep 300" &
client=$!
poll 10 started third
kill -INT $client
status=0
wait $client || status=$?
[ $status = 130 ] || fail "interrupted, vine run ended with $status"
poll 20 gone "$(cat "$DIR/began.third")"
