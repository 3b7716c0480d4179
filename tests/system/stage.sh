# SPDX-License-Identifier: Apache-2.0
# A tree is brought to nodes before any task asks for it: to those that are there and those that join, over a restart of vined; it is pinned, and not any more.
. "$SRC/tests/system/lib.sh"

json() { python3 -c 'import json,sys; print(eval(sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; }
trees() { VINE_NODE=$DIR/$1 vine cache ls --json | json "sum(t['resident'] == t['size'] and $2 for t in j['trees'])"; }
told_why() { # REASON ARG...: so much is said to who waits a moment for what does not come
	local why=$1 status=0
	shift
	vine stage "$@" --wait --timeout 100ms 2>"$DIR/err" || status=$?
	[ $status = 124 ] && grep -qF "waiting: $why" "$DIR/err"
}
has() { [ "$(trees "$1" "$2")" = "$3" ]; } # NODE CONDITION COUNT

start_vined cluster
start_node n1 --name=n1
start_node n2 --name=n2
mkdir "$DIR/env"
for i in $(seq 20); do seq "$i" 5000 >"$DIR/env/$i"; done
touch -d 2001-02-03 "$DIR"/env/* "$DIR/env"

expect 0 vine stage "$DIR/env" --pin --wait
contains "$DIR/err" "2 of 2 nodes"
# Whence it came can be seen at once.
expect 0 vine tree bytes --json
[ "$(json 'j["trees"][0]["size"] == j["moved"]["from_sources"] == j["moved"]["from_nodes"] > 0' <"$DIR/out")" = True ] || fail "$(cat "$DIR/out")"
has n1 1 1 || fail "the tree is not on n1"
has n2 1 1 || fail "the tree is not on n2"
poll 10 has n1 't["pinned"]' 1
poll 10 has n2 't["pinned"]' 1
expect 0 vine stage --json
[ "$(json 'j[0]["there"], j[0]["pinned"], j[0]["all"]' <"$DIR/out")" = "(2, True, True)" ] || fail "$(cat "$DIR/out")"

# What the source had then comes from the nodes, also to one that joins after a restart of vined.
mv "$DIR/env" "$DIR/gone"
stop cluster
start_vined cluster
start_node n3 --name=n3
poll 20 has n3 't["pinned"]' 1
on_all() { vine stage | grep -q "3 of 3 nodes"; }
poll 20 on_all # each node tells it when it is back

# Where a task would see it need not be said, also of what has no name of its own.
(cd "$DIR/gone" && expect 0 vine stage . --wait)
expect 0 vine stage "$DIR/gone" --over
expect 125 vine stage "$DIR/gone" --nodes ,
contains "$DIR/err" "no node is named"

# Who waits for what may never come is told so.
nowhere=tree:$(printf '0%.0s' $(seq 64))
poll 20 told_why "no node that is there has all of it" "$nowhere"
expect 0 vine stage
contains "$DIR/out" "$nowhere: 0 of 3 nodes"
contains "$DIR/out" "no node that is there has all of it"
expect 0 vine stage "$nowhere" --over

# One node only, which need not be there.
stop n2
poll 20 told_why "none of these nodes is there" "$DIR/gone" --nodes n2
expect 0 vine stage "$DIR/gone" --over
seq 100000 >"$DIR/file"
expect 0 vine stage "$DIR/file" --nodes n1,n2 --wait
contains "$DIR/err" "1 of 1 node"
contains "$DIR/err" "1 away"
has n1 1 2 || fail "the file is not on n1"
has n3 1 1 || fail "the file is on n3, too"
start_node n2 --name=n2
poll 20 has n2 1 2

expect 125 vine stage "$DIR/file" --nodes nowhere
contains "$DIR/err" "no node is called 'nowhere'"
expect 125 vine stage "$DIR/nothing"
expect 0 vine stage "file:$DIR/env" --over
poll 10 has n1 't["pinned"]' 0
poll 10 has n3 't["pinned"]' 0
expect 125 vine stage "file:$DIR/env" --over

# One that has no room for it: why is said at once, and of what fails again and again ever less is told.
start_node n4 --name=n4 --cache-size=4M
head -c 8000000 /dev/urandom >"$DIR/large"
poll 20 told_why "node n4: the tree has 8000000 bytes, which is more than a quarter of this node's cache" "$DIR/large" --nodes n4 --pin
failures() { grep -c "was not brought here" "$DIR/n4.log"; }
poll 20 eval '[ $(failures) -ge 5 ]'
[ "$(grep -c 'n4: cannot fetch' "$DIR/cluster.log")" -lt "$(failures)" ] || fail "each of $(failures) failures is told"
expect 0 vine stage
contains "$DIR/out" ", pinned: node n4: the tree has 8000000 bytes"
