# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 11: versions differ. Another MINOR works both ways, for client, node and daemon; another MAJOR is refused with both
# versions in the text; an unknown type is answered "unknown".
. "$SRC/tests/system/lib.sh"

start_vined cluster
socket=$(field cluster socket)

# ---- HELLOs by hand
hello "$socket" 1 0 >"$DIR/same"
contains "$DIR/same" "HELLO major=1"
hello "$socket" 1 99 60000 >"$DIR/newer"
contains "$DIR/newer" "HELLO major=1"
contains "$DIR/newer" "STATUS"
contains "$DIR/newer" "unknown"
hello "$socket" 2 0 >"$DIR/major"
grep -q 'BYE.*protocol 2 .*not our 1 .*final=yes' "$DIR/major" || fail "no refusal that names both: $(cat "$DIR/major")"
poll 10 grep -q 'protocol 2' "$DIR/cluster.log"
expect 0 vine status

# ---- our programs, made to look older or newer: first client and node, then the daemon
work() { # NAME: a little of everything, through VINE
	expect 0 vine run --tag=x --env A=b --chdir / -- sh -c 'seq 40000; echo "$A $PWD" >&2; exit 0'
	seq 40000 | cmp - "$DIR/out" || fail "$1: not the output that was written"
	[ "$(cat "$DIR/err")" = 'b /' ] || fail "$1: on standard error: $(cat "$DIR/err")"
	expect 7 vine run -- sh -c 'exit 7'
	SHOW="how status tag attempts out" RUN=$1 expect 0 post 60 key=k{i} tag=t{i} echo {i}
	seq 60 | sed 's/.*/exited 0 t& 1 &/' | sort >"$DIR/wanted"
	sort "$DIR/out" | cmp - "$DIR/wanted" || fail "$1: not 60 results as they should be: $(cat "$DIR/out")"
	expect 0 vine status --json
	contains "$DIR/out" '"n1"'
	vine run -- sleep 1000 2>"$DIR/run.err" &
	local client=$!
	poll 20 is_running
	kill -INT $client
	wait $client && fail "$1: an interrupted task ended well"
	poll 20 is_idle
}
is_running() { vine status >"$DIR/status" && grep -q ' 1 running' "$DIR/status"; }
is_idle() { vine status >"$DIR/status" && grep -q ' 0 queued, 0 running, 0 held, 0 ended' "$DIR/status"; }

for who in peer daemon; do
	for how in older newer; do
		between=$DIR/$who-$how.sock
		start "$who-$how" 'aged ready' aged "$between" "$socket" $how $who
		start n1 'vinefs ready' vinefs --state="$DIR/n1" --name=n1 --vined="$between" --cores=4
		VINE=$between work "$who-$how"
		# The other one of them as it is.
		VINE=$socket work "$who-$how-n1"
		stop n1
		stop "$who-$how"
		[ $how = older ] || [ "$(grep -c answered "$DIR/$who-$how.out")" -ge 5 ] ||
			fail "$who-$how: an unknown request was not answered: $(cat "$DIR/$who-$how.out")"
	done
done
start_node n1 --name=n1
work plain
stop n1

# ---- another MAJOR: refused in words, at once and for good
for who in peer daemon; do
	start "$who-major" 'aged ready' aged "$DIR/$who-major.sock" "$socket" major $who
	VINE=$DIR/$who-major.sock expect 125 timeout 20 vine status
	grep -q 'protocol [02] .*not our 1 ' "$DIR/err" || fail "$who: the client does not name both: $(cat "$DIR/err")"
	expect 125 timeout 20 vinefs --state="$DIR/n2" --vined="$DIR/$who-major.sock"
	grep -q 'protocol [02] .*not our 1 ' "$DIR/err" || fail "$who: the node does not name both: $(cat "$DIR/err")"
	stop "$who-major"
done
expect 0 vine status
