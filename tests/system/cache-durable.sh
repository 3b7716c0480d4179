# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What a person was told is so after a kill -9 right behind the answer: names, pins, their end.
. "$SRC/tests/system/lib.sh"

export VINE_NODE=$DIR/n1
node() { start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1" "$@"; }
die() { # all of it at once; then it is there again
	local each
	each=$(pgrep -P "$(cat "$DIR/n1/lock")" vinefs)
	kill -KILL "$each"
	crash n1
	poll 20 gone "$each"
	node
}
pinned() { vine cache show "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["trees"][0]["pinned"])'; }

node
rounds=3
[ "${SOAK:-0}" = 0 ] || rounds=100
for ((i = 0; i < rounds; i++)); do
	mkdir "$DIR/t$i"
	echo "$i" >"$DIR/t$i/number"
	vine seal -q "$DIR/t$i" --name "t$i" >"$DIR/out"
	die
	expect 0 vine tree cat "t$i/number"
	contains "$DIR/out" "$i"
	# Known, unchanged, nothing to be written of its source: the name all the same.
	vine seal -q "$DIR/t$i" --name "again$i" >"$DIR/out"
	die
	expect 0 vine cache show "again$i"
	vine cache pin "t$i"
	die
	[ "$(pinned "t$i")" = True ] || fail "the pin of t$i was lost"
	vine cache unpin "t$i"
	die
	[ "$(pinned "t$i")" = False ] || fail "t$i is pinned again"
done
