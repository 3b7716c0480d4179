# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 1: vined is killed while a node is cut off, and started again. A node that is back within the node timeout goes on with
# what it was given; one that is back later is fenced. Either way every task has its result once.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/net-lib"

is_over() { ! alive "$(pid_on n1 "$1")"; }
kill_and_restart() { # [ARG...]
	poll 20 is_recorded cluster
	crash cluster
	hub_vined cluster --stop-grace=1s "$@"
}
each_once() { # OUT COUNT ATTEMPTS NODE
	wait $post || fail "$(cat "$DIR/post.err")"
	[ "$(grep -c " exited 0 $3 $4\$" "$DIR/$1")" = "$2" ] || fail "$1: $(cat "$DIR/$1")"
	[ "$(wc -l <"$DIR/$1")" = "$2" ] || fail "$1: a result came twice: $(cat "$DIR/$1")"
	[ "$(wc -l <"$DIR/ran")" = $(($2 * $3)) ] || fail "$1: not as many attempts: $(cat "$DIR/ran")"
	RUN=work expect 0 post 0
	[ ! -s "$DIR/out" ] || fail "$1: acknowledged results came again: $(cat "$DIR/out")"
}

hub_vined cluster --stop-grace=1s
far_node n1 --cores=4

# ---- back in time: one attempt ended while nobody heard it, one is running
post_some 2 early
kill_and_restart --node-timeout=60s
hang_up n1
expect 0 vine status
contains "$DIR/out" '2 running'
touch "$DIR/go.n1"
poll 20 is_over 1
plug n1
each_once early 2 1 n1
rm "$DIR/go.n1"

# ---- back too late: two attempts ended meanwhile, two are running; vined is killed once more before the node returns
touch "$DIR/stuck.n1.3" "$DIR/stuck.n1.4"
post_some 4 late
kill_and_restart --node-timeout=500ms
hang_up n1
far_node n2 --cores=4
poll 20 attempts n2 4
touch "$DIR/go.n1"
poll 20 is_over 1
poll 20 is_recorded cluster
crash cluster
hub_vined cluster --stop-grace=1s --node-timeout=60s
plug n1
poll 30 rejoined
poll 20 is_over 3
poll 20 is_over 4
touch "$DIR/go.n2"
each_once late 4 2 n2
expect 0 vine status
contains "$DIR/out" ' 0 queued, 0 running, 0 held, 0 ended'
