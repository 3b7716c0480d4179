# SPDX-License-Identifier: Apache-2.0
# The output of a task that runs is followed: what it writes comes as it writes it, all of it, and the stream ends with the task.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1

# Three times it waits until what it wrote has been seen; then it writes more than one look takes, and ends at once.
await() { echo "until [ -e $DIR/$1 ]; do sleep 0.05; done"; }
SHOW="how status" post 1 sh -c "for i in 1 2 3; do echo said \$i; $(await seen.\$i); done; seq 300000" \
	>"$DIR/posted" 2>"$DIR/post.err" &
post=$!
posted() { vine status | grep -q "0 queued, 1 running"; }
poll 20 posted
vine logs -f --only=out 1 >"$DIR/followed" 2>"$DIR/logs.err" &
logs=$!
for i in 1 2 3; do
	poll 20 grep -q "^said $i" "$DIR/followed"
	[ "$(grep -c said "$DIR/followed")" = $i ] || fail "it has said more than it was let to: $(cat "$DIR/followed")"
	touch "$DIR/seen.$i"
done
wait $logs || fail "vine logs ended with $?: $(cat "$DIR/logs.err")"
wait $post || fail "$(cat "$DIR/post.err")"
contains "$DIR/posted" "exited 0"
{ printf 'said %s\n' 1 2 3; seq 300000; } | cmp - "$DIR/followed" || fail "what was followed is not what was written"

# vinefs dies under the task and its follower: the task goes on, and whoever asks again gets all of it.
post 1 sh -c "echo before; $(await go); echo after" >"$DIR/posted" 2>"$DIR/post.err" &
post=$!
poll 20 posted
vine logs -f --only=out 2 >"$DIR/cut" 2>"$DIR/cut.err" &
cut=$!
poll 20 grep -q before "$DIR/cut"
kill -KILL "$(field n1 pid)"
poll 20 grep -q "joined.* 1 attempts" "$DIR/cluster.log"
vine logs -f --only=out 2 >"$DIR/followed" 2>"$DIR/logs.err" &
logs=$!
poll 20 grep -q before "$DIR/followed"
touch "$DIR/go"
wait $logs || fail "vine logs ended with $?: $(cat "$DIR/logs.err")"
wait $post || fail "$(cat "$DIR/post.err")"
wait $cut || fail "vine logs ended with $?: $(cat "$DIR/cut.err")"
for i in followed cut; do
	printf 'before\nafter\n' | cmp - "$DIR/$i" || fail "not all of it, once: $(cat "$DIR/$i")"
done
