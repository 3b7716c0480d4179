# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# A tree that one node has comes to another from there, not from its source; also when that node's vinefs is killed half-way.
. "$SRC/tests/system/lib.sh"

json() { python3 -c 'import json,sys; print(eval(sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; }
resident() { # NODE: bytes of all trees there
	VINE_NODE=$DIR/$1 vine cache ls --json | json 'sum(t["resident"] for t in j["trees"])'
}
whole() { # NODE COUNT: so many trees are there, all of each
	[ "$(VINE_NODE=$DIR/$1 vine cache ls --json | json 'sum(t["resident"] == t["size"] for t in j["trees"])')" = "$2" ]
}
has_some() { [ "$(resident "$1")" -gt "$2" ]; }
# So that half-way lasts longer than it takes to look, where there is tc.
slow_link() { tc qdisc replace dev lo root tbf rate 160mbit burst 256kb latency 200ms 2>"$DIR/tc.err" || cat "$DIR/tc.err"; }
fast_link() { tc qdisc delete dev lo root 2>"$DIR/tc.err" || cat "$DIR/tc.err"; }

start_vined cluster
start_node n1 --name=n1 --feature=first
mkdir "$DIR/data" "$DIR/data/sub"
for i in $(seq 50); do seq "$i" 20000 >"$DIR/data/sub/$i"; done
head -c 20000000 /dev/urandom >"$DIR/data/large"
head -c 300000000 /dev/urandom >"$DIR/file"
touch -d '2001-02-03' "$DIR/file" "$DIR"/data/* "$DIR"/data/sub/*

run_on() { # FEATURE FILE OUT
	SHOW="how status reason" post 1 "in=$2" staging=full "feature=$1" true >"$DIR/$3" 2>"$DIR/$3.err"
}
# The second task waits for its node while the first one's node reads the source, which then goes away.
run_on second "$DIR/data" out2 &
second=$!
poll 20 sh -c 'vine status | grep -q "1 queued"'
run_on first "$DIR/data" out1 || fail "$(cat "$DIR/out1.err")"
contains "$DIR/out1" "exited 0"
whole n1 1 || fail "the tree is not on n1"
contains "$DIR/n1.log" "other nodes find this one at 127.0.0.1:"
mv "$DIR/data" "$DIR/gone"
start_node n2 --name=n2 --feature=second
wait $second || fail "$(cat "$DIR/out2.err")"
contains "$DIR/out2" "exited 0"
whole n2 1 || fail "the tree is not on n2"
id=$(VINE_NODE=$DIR/n2 vine cache ls --json | json 'j["trees"][0]["tree"]')
expect 0 env VINE_NODE="$DIR/n2" vine tree check "$id" "$DIR/gone"

# Killed half-way, vinefs comes again at once, under another port: the rest is fetched from there.
SHOW="how status reason" post 1 "in=$DIR/file" staging=full feature=never true >"$DIR/never" 2>"$DIR/never.err" &
never=$!
run_on first "$DIR/file" out3 || fail "$(cat "$DIR/out3.err")"
whole n1 2 || fail "the file is not on n1"
before=$(resident n2)
slow_link
run_on second "$DIR/file" out4 &
fourth=$!
poll 20 has_some n2 $((before + 20000000))
mv "$DIR/file" "$DIR/gone.file"
kill -KILL "$(field n1 pid)"
half=$(resident n2)
[ "$half" -lt $((before + 300000000)) ] || fail "all of it had come before the kill"
fast_link
wait $fourth || fail "$(cat "$DIR/out4.err")"
contains "$DIR/out4" "exited 0"
whole n2 2 || fail "the file is not on n2"
id=$(VINE_NODE=$DIR/n2 vine cache ls --json | json '[t for t in j["trees"] if t["size"] > 200000000][0]["tree"]')
expect 0 env VINE_NODE="$DIR/n2" vine tree check "$id" "$DIR/gone.file"
kill -KILL $never
wait $never || :
