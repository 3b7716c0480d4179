# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What only one node has is on another before it ends: on SIGTERM, and once it is drained. Who needs it runs there, and nothing is made again. A cluster that ends
# as a whole waits for nobody.
. "$SRC/tests/system/lib.sh"

attempts() { vine events -n 1000 2>/dev/null | grep -c ' started '; }
gone_or_dead() { ! grep -q "^State:.[^Z]" "/proc/$1/status" 2>/dev/null; }
make_temp() { # NAME FEATURE
	expect 0 vine run -J work --feature "$2" -o "out:temp:$1" -- sh -c "head -c 3000000 /dev/urandom >out; sha256sum <out"
	cp "$DIR/out" "$DIR/$1.sum"
}
read_temp() { # NAME
	expect 0 vine run -J work -i "temp:$1:in" -- sh -c 'sha256sum <in'
	cmp "$DIR/out" "$DIR/$1.sum" || fail "$1 is another one"
}

start_vined cluster
start_node n1 --name=n1 --feature=a
start_node n2 --name=n2 --feature=b

# Told to end, it has it copied first.
make_temp one a
stop n1
contains "$DIR/cluster.log" "node n1: it is about to end"
before=$(attempts)
read_temp one
[ "$(attempts)" = $((before + 1)) ] || fail "it was made again"

# Drained, it gets no tasks, and is empty when --wait returns; killed then, nothing is missing.
start_node n1 --name=n1 --feature=a
make_temp two b
expect 0 vine node drain n2 --wait
contains "$DIR/out" "n2 is empty"
expect 0 vine run -J work -- true
vine status >"$DIR/status"
contains "$DIR/status" "drained"
crash n2
before=$(attempts)
read_temp two
[ "$(attempts)" = $((before + 1)) ] || fail "it was made again"

# It stays drained when it comes again, until it is resumed.
start_node n2 --name=n2 --feature=b
vine run -J work --feature b -- true &
waiting=$!
poll 10 sh -c 'vine status | grep -q "1 queued"'
expect 0 vine node resume n2
wait $waiting || fail "it did not run on n2"
expect 125 vine node drain n9
contains "$DIR/err" "no node is called 'n9'"
expect 125 vine node status n2
contains "$DIR/err" "vine why n2"

# All at once: nobody waits for nodes that end, too.
make_temp three b
pids="${pid_of[n1]} ${pid_of[n2]}"
kill -TERM $pids
for pid in $pids; do poll 5 gone_or_dead "$pid"; done
wait $pids || :
unset "pid_of[n1]" "pid_of[n2]"

# One that has no time to wait says so, too, before what runs there has ended: that is no loss, and runs elsewhere.
start_node n3 --name=n3 --stop-grace=0s
mkfifo "$DIR/endless"
vine run -- sh -c 'echo $$ >>'"$DIR/began"'; [ "$(wc -l <'"$DIR/began"')" -gt 1 ] || exec cat '"$DIR/endless" &
running=$!
poll 10 test -s "$DIR/began"
stop n3
contains "$DIR/cluster.log" "node n3: it is about to end"
start_node n4 --name=n4
wait $running || fail "it did not run on n4"
stop n4

# A known end, said as a time or as a duration.
address=$(field cluster address)
expect 125 vine join "$address" --secret "$DIR/cluster/secret" --until someday
contains "$DIR/err" "not a time like 17:30"
expect 125 vine join "$address" --secret "$DIR/cluster/secret" --until 2001-01-01
contains "$DIR/err" "that is over"
expect 125 vine join "$address" --secret "$DIR/cluster/secret" --until 0s
contains "$DIR/err" "that is over"
expect 125 vine join "$address" --secret "$DIR/cluster/secret" --until 8h --stays 8h
# What vined would not take is said here.
expect 125 vine join "$address" --secret "$DIR/cluster/secret" --rack "$(printf 'x%.0s' $(seq 300))"
contains "$DIR/err" "at most 256 are allowed"
expect 0 vine join "$address" --secret "$DIR/cluster/secret" --until 1h --name late
expect 0 vine run --wall-time 30m -- true
expect 0 vine run --wall-time 2h --dry-run -- true
expect 0 vine down "$address"
