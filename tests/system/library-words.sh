# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# threaded
# All that the library can say to a cluster, said to a real one: cancel, limits, retries, dependencies, forget, nodes.
. "$SRC/tests/system/lib.sh"

start_vined cluster --node-timeout=1s
address=$(field cluster address)
start_node n1 --cores=4
words "$DIR" >"$DIR/words.out" 2>&1 &
words=$!
there() { [ -e "$DIR/$1" ] || gone $words; }
poll 60 there posted
crash cluster
start_vined cluster --node-timeout=1s --listen="$address"
touch "$DIR/go"
poll 60 there watching
start_node n2 --name=second
poll 60 there joined
crash n2
poll 60 there left
wait $words || fail "$(cat "$DIR/words.out")"
