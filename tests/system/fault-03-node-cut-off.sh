# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 3: a node is cut off and returns. Sooner than the node timeout nothing comes of it; later its attempts are fenced:
# what still runs is ended, what had ended is dropped, and the results are those of the node that was given the tasks instead.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/net-lib"

start_spare() { start_node spare --name=spare --cores=4; }

hub_vined cluster --node-timeout=5s --stop-grace=1s
far_node n1 --cores=4

# ---- short: the connection survives; then it does not, and the node is back in time. Another one would take its tasks
for how in kept broken; do
	post_some 2 $how start_spare
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
	stop spare
done

# ---- long: two of its attempts end while it is away, two are still running when it is back
touch "$DIR/stuck.n1.3" "$DIR/stuck.n1.4"
post_some 4 long start_spare
hang_up n1
poll 20 attempts spare 4
touch "$DIR/go.n1"
over() { ! alive "$(pid_on n1 1)"; }
poll 10 over
plug n1
poll 30 rejoined
fenced() { ! alive "$(pid_on n1 3)"; }
poll 20 fenced
expect 0 vine status
contains "$DIR/out" '4 running'
touch "$DIR/go.spare"
wait $post || fail "$(cat "$DIR/post.err")"
[ "$(grep -c ' exited 0 2 spare$' "$DIR/long")" = 4 ] || fail "not the results of the other: $(cat "$DIR/long")"
[ "$(wc -l <"$DIR/long")" = 4 ] && [ "$(wc -l <"$DIR/ran")" = 8 ] || fail "too many: $(cat "$DIR/long" "$DIR/ran")"
RUN=work expect 0 post 0
[ ! -s "$DIR/out" ] || fail "acknowledged results came again: $(cat "$DIR/out")"

# What n1 had ended is no burden to it: it works on.
stop spare
rm "$DIR/go.n1"
expect 0 vine run -- true
