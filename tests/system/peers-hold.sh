# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What a client has sent for a task that waits is not evicted from the node that has it, also after its vinefs was killed.
. "$SRC/tests/system/lib.sh"

json() { python3 -c 'import json,sys; print(eval(sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; }
start_vined cluster --client-timeout=1s
start_node n1 --name=n1 --feature=first
mkdir "$DIR/data"
seq 300000 >"$DIR/data/numbers"
find "$DIR/data" -exec touch -hd '2001-02-03' {} +

post 1 "in=client:$DIR/data" feature=never true >"$DIR/waits" 2>"$DIR/waits.err" &
waits=$!
queued() { vine status | grep -q "1 queued"; }
poll 20 queued

export VINE_NODE=$DIR/n1
tree=$(vine cache ls --json | json 'j["trees"][0]["tree"]')
is_held() { vine cache show "$tree" | grep -q "tasks need it"; }
evict() { vine cache evict "$tree"; }
poll 20 is_held
expect 125 evict
kill -KILL "$(field n1 pid)"
poll 20 is_held
expect 125 evict
kill -KILL $waits
wait $waits || :
