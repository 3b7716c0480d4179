# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 14: the wall clock of every machine jumps by hours and years, both ways. Connections, node and client timeouts, rests and what is
# kept go by time that passed: nobody is given up, and nothing ends, sooner or later for it.
. "$SRC/tests/system/lib.sh"

command -v "${CC:-cc}" >"$DIR/found" || skip "no C compiler"
"${CC:-cc}" -shared -fPIC -O1 -o "$DIR/clock.so" "$SRC/tests/system/clock.c"
clocked=(env LD_PRELOAD="$DIR/clock.so" CLOCK_OFFSET="$DIR/offset" ASAN_OPTIONS="${ASAN_OPTIONS-}:verify_asan_link_order=0")
jump() { # SECONDS from the true time
	local i bytes=
	for i in 0 8 16 24 32 40 48 56; do bytes+=$(printf '\\x%02x' $((($1 >> i) & 255))); done
	printf "$bytes" | dd of="$DIR/offset" conv=notrunc status=none
}
jump 0

clocked_vined() { # [ARG...]
	start cluster 'vined ready' "${clocked[@]}" vined --state="$DIR/cluster" --listen="${address-127.0.0.1:0}" "$@"
	vined=cluster
	address=$(field cluster address)
	export VINE=$address VINE_SECRET=$DIR/cluster/secret # by TCP: TLS asks for the time, too
}
clocked_node() { # NAME
	start "$1" 'vinefs ready' "${clocked[@]}" vinefs --state="$DIR/$1" --name="$1" --vined="$address" \
		--secret="$DIR/cluster/secret" --cores=4 --reconnect=100ms
}
vine() { "${clocked[@]}" "$STAGE/bin/vine" "$@"; }
is_served() { expect 0 vine run --clean-env -- echo served && contains "$DIR/out" served; }
connected() { vine status >"$DIR/status" && grep -q 'n1 .* connected' "$DIR/status"; }

clocked_vined --node-timeout=60s --client-timeout=60s
clocked_node n1
vine run --clean-env -- sh -c "echo \$\$ >>$DIR/long; until [ -e $DIR/go ]; do sleep 0.1; done; seq 100000" >"$DIR/long.out" 2>"$DIR/long.err" &
long=$!
began() { [ -s "$DIR/long" ]; }
poll 20 began
for offset in 7200 -7200 90000 -200000 630720000 -630720000 0; do
	jump $offset
	is_served
	connected || fail "at $offset s: $(cat "$DIR/status")"
done
! grep -E 'silent|lost|not back in time|client is gone' "$DIR/cluster.log" || fail "someone was given up"

# vined is away while it jumps: who may come back is waited for no shorter.
year=$(date -u +%Y)
jump 90000
crash cluster
jump -315360000
clocked_vined --node-timeout=60s --client-timeout=60s
jump 90000
is_served
grep -q "^$((year - 10))-.* ready at" "$DIR/cluster.log" || fail "the clock did not jump: $(tail -n 5 "$DIR/cluster.log")"
touch "$DIR/go"
wait $long || fail "status $? of the long task: $(cat "$DIR/long.err")"
[ "$(wc -l <"$DIR/long")" = 1 ] || fail "the long task was begun again"
seq 100000 | cmp - "$DIR/long.out" || fail "its output was not kept"

# ... nor longer: a client and a node die, and the clock goes back by a day.
rm "$DIR/go" "$DIR/long"
crash cluster
clocked_vined --node-timeout=2s --client-timeout=1s
RUN=named "${clocked[@]}" bag 1 sh -c "echo \$\$ >>$DIR/long; until [ -e $DIR/go ]; do sleep 0.1; done" >"$DIR/bag.out" 2>"$DIR/bag.err" &
bag=$!
poll 20 began
"${clocked[@]}" "$STAGE/bin/vine" run --clean-env -- sh -c "echo \$\$ >$DIR/attached; exec sleep 1000" &
client=$!
attached() { [ -s "$DIR/attached" ]; }
poll 20 attached
kill -KILL $client
wait $client || :
jump -86400
poll 20 gone "$(cat "$DIR/attached")"
kill -KILL $(pgrep -P "${pid_of[n1]}") "${pid_of[n1]}"
wait "${pid_of[n1]}" || :
unset "pid_of[n1]"
jump -172800
clocked_node n2
again() { [ "$(wc -l <"$DIR/long")" = 2 ]; }
poll 20 again
touch "$DIR/go"
wait $bag || fail "$(cat "$DIR/bag.err")"
grep -q ' exited 0 2$' "$DIR/bag.out" || fail "the task of a dead node: $(cat "$DIR/bag.out")"
