# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What comes to a node, and from whom: a directory is read where it lies by the first node and comes to the second from there. Each is seen while it comes, has an event
# at each end, and is on the account of the task that it came for.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=n1 --feature=first
mkdir "$DIR/data"
for i in 1 2 3 4 5 6; do head -c 25000000 /dev/urandom >"$DIR/data/$i"; done
touch -d '2001-02-03' "$DIR/data" "$DIR"/data/*
size=150000000

run_on() { # FEATURE OUT
	SHOW="how status local-size moved-size peer-size source-size client-size" post 1 "in=$DIR/data" staging=full "feature=$1" true >"$DIR/$2" 2>"$DIR/$2.err" ||
		fail "$(cat "$DIR/$2.err")"
}
transfers() { vine top --json | python3 -c 'import json,sys
for t in json.load(sys.stdin)["transfers"]: print(t["from"], t["to"], t["item"], t["origin"], t["done"] > 0)'; }
told() { transfers | grep -qx "$1"; }

# The second task waits for its node while the first one's node reads the directory itself. Of a fast disk all may come between two looks: it is there for some seconds more.
run_on second out2 &
second=$!
poll 20 sh -c 'vine status | grep -q "1 queued"'
run_on first out1 &
first=$!
poll 20 told "$DIR/data n1 .*data source True"
wait $first || fail "$(cat "$DIR/out1.err")"
contains "$DIR/out1" "exited 0 0 $size 0 $size 0"

start_node n2 --name=n2 --feature=second
poll 20 told "n1 n2 file:$DIR/data node True"
wait $second || fail "$(cat "$DIR/out2.err")"
contains "$DIR/out2" "exited 0 0 $size $size 0 0"

# What was seen is summed: the source was read once, which is what is needed.
summed() { vine status | grep -q '^moved .*143.* from nodes, 143.* from sources (1.00 x of what was needed once), 0 from clients'; }
poll 20 summed
expect 0 vine tree bytes --json
python3 - "$DIR/out" $size "file:$DIR/data" <<'END' || fail "$(cat "$DIR/out")"
import json, sys
o, size = json.load(open(sys.argv[1])), int(sys.argv[2])
t = o["trees"][0]
assert t["item"] == sys.argv[3] and t["size"] == t["from_nodes"] == t["from_sources"] == size and t["nodes"] == 2, t
assert o["moved"] == {"from_nodes": size, "from_sources": size, "from_clients": 0, "needed": size}, o["moved"]
END
expect 0 vine tree bytes data
contains "$DIR/out" "143"

# Events: each begins and ends, and nothing is left.
ends() { [ "$(vine events -n 100 | grep -c ' transfer-ended ')" = 2 ]; }
poll 30 ends
expect 0 vine events -n 100
contains "$DIR/out" "file:$DIR/data to n2 begins, "
contains "$DIR/out" "from n1"
contains "$DIR/out" "to n1 ends: "
[ "$(grep -c ' transfer-begun ' "$DIR/out")" = 2 ] || fail "not two began: $(cat "$DIR/out")"
[ -z "$(transfers)" ] || fail "something is on its way: $(transfers)"

# Why: of the task, and of the path on the node that has it from the other.
expect 0 vine why 1
contains "$DIR/out" "143 MiB came from n1"
id=$(vine tree bytes --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["trees"][0]["tree"])')
expect 0 env VINE_NODE="$DIR/n2" vine why "tree:$id/1"
contains "$DIR/out" "other nodes: came from node n1"
expect 0 env VINE_NODE="$DIR/n2" vine why "$DIR/data/1"
contains "$DIR/out" "other nodes: came from node n1"
contains "$DIR/out" "next read: from the cache"

# The sums outlive the scheduler.
crash cluster
start_vined cluster
poll 20 summed

# Two start at once with what nobody has seen: one reads it, and the other, which waits for that, gets it from there.
mkdir "$DIR/fresh"
for i in 1 2 3; do head -c 20000000 /dev/urandom >"$DIR/fresh/$i"; done
echo small >"$DIR/fresh/small"
touch -d '2001-02-03' "$DIR/fresh" "$DIR"/fresh/*
both=
for i in first second; do
	SHOW="how status" post 1 "in=$DIR/fresh" "feature=$i" sh -c "cat $DIR/fresh/small && until [ -e $DIR/go ]; do sleep 0.05; done" >"$DIR/$i" 2>"$DIR/$i.err" &
	both="$both $!"
done
once() { vine tree bytes fresh --json | python3 -c 'import json,sys
t = json.load(sys.stdin)["trees"][0]
sys.exit(not (t["size"] <= t["from_sources"] <= 1.1 * t["size"] and t["from_nodes"] == t["size"]))'; }
poll 20 once
touch "$DIR/go"
for i in $both; do wait "$i" || fail "$(cat "$DIR/first.err" "$DIR/second.err")"; done
for i in first second; do contains "$DIR/$i" "exited 0"; done
