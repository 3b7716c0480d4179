# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 3: a node is cut off and returns. Sooner than the node timeout nothing comes of it; later its attempts are fenced:
# what still runs is ended, what had ended is dropped, and the results are those of the node that was given the tasks instead.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/net-lib"

joins() { grep -c 'node n1: joined' "$DIR/cluster.log"; }
rejoined() { [ "$(joins)" -gt "$before" ]; }
post_some() { # COUNT OUT
	: >"$DIR/ran"
	RUN=work SHOW="task how status attempts out" post "$1" sh -c "$TASK" {i} >"$DIR/$2" 2>"$DIR/post.err" &
	post=$!
	poll 20 attempts n1 "$1"
	before=$(joins)
	unplug n1
}

hub_vined cluster --node-timeout=5s --stop-grace=1s
far_node n1 --cores=4

# ---- short: the connection survives; then it does not, and the node is back in time
for how in kept broken; do
	post_some 2 $how
	if [ $how = kept ]; then
		stay 1
		plug n1
	else
		hang_up n1
		plug n1
		poll 20 rejoined
	fi
	touch "$DIR/go.n1"
	wait $post || fail "$how: $(cat "$DIR/post.err")"
	[ "$(grep -c ' exited 0 1 n1$' "$DIR/$how")" = 2 ] || fail "$how: something came of it: $(cat "$DIR/$how")"
	[ "$(wc -l <"$DIR/ran")" = 2 ] || fail "$how: there were other attempts: $(cat "$DIR/ran")"
	[ $how = broken ] || ! rejoined || fail "a connection did not survive a second"
	rm "$DIR/go.n1"
done

# ---- long: two of its attempts end while it is away, two are still running when it is back
touch "$DIR/stuck.n1.3" "$DIR/stuck.n1.4"
post_some 4 long
hang_up n1
far_node n2 --cores=4
poll 20 attempts n2 4
touch "$DIR/go.n1"
over() { ! alive "$(awk '$1 == 1 && $3 == "n1" { print $4 }' "$DIR/ran")"; }
poll 10 over
plug n1
poll 30 rejoined
fenced() { ! alive "$(awk '$1 == 3 && $3 == "n1" { print $4 }' "$DIR/ran")"; }
poll 20 fenced
expect 0 vine status
contains "$DIR/out" '4 running'
touch "$DIR/go.n2"
wait $post || fail "$(cat "$DIR/post.err")"
[ "$(grep -c ' exited 0 2 n2$' "$DIR/long")" = 4 ] || fail "not the results of n2: $(cat "$DIR/long")"
[ "$(wc -l <"$DIR/long")" = 4 ] && [ "$(wc -l <"$DIR/ran")" = 8 ] || fail "too many: $(cat "$DIR/long" "$DIR/ran")"
RUN=work expect 0 post 0
[ ! -s "$DIR/out" ] || fail "acknowledged results came again: $(cat "$DIR/out")"

# What n1 had ended is no burden to it: it works on.
stop n2
rm "$DIR/go.n1"
expect 0 vine run -- true
