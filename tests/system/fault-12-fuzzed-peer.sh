# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 12: garbage on the port, from peers that know the secret (nuisance.sh has those that do not). Whatever a client or a node
# sends, its connection is closed or it is answered, memory is bounded, others are served meanwhile, and the database can be read again.
. "$SRC/tests/system/lib.sh"

connections=$([ -n "${SOAK-}" ] && echo 5000 || echo 150)
seed=${SEED:-$RANDOM}
echo "seed $seed"

peak() { awk '/VmHWM/ { print $2 }' "/proc/${pid_of[cluster]}/status"; }
begin_fuzz() { # ADDRESS SECRET ROLE
	seed=$((seed + 1000000))
	fuzzed "$1" "$2" "$3" $seed "$connections" 100 >"$DIR/fuzzed.$seed" 2>&1 &
	fuzzers+=($!)
}
any_fuzzer() {
	local each
	for each in "${fuzzers[@]}"; do ! alive "$each" || return 0; done
	return 1
}
end_fuzz() {
	local each
	for each in "${fuzzers[@]}"; do wait "$each" || fail "a fuzzer ended with $?: $(cat "$DIR"/fuzzed.*)"; done
	cat "$DIR"/fuzzed.*
	rm "$DIR"/fuzzed.*
	fuzzers=()
}
# Their cores are too few for it, so that it is run by whom we trust.
served() { # COUNT_OF
	expect 0 timeout 30 vine run --cores=2 --priority=1000000 -- echo served
	contains "$DIR/out" served
	n_served=$((n_served + 1))
}

start_vined cluster --node-timeout=500ms --client-timeout=1s
local_socket=$VINE
start_node n1 --name=n1 --cores=4 --reconnect=100ms
n_served=0
fuzzers=()
served
before=$(peak)
begin_fuzz "$local_socket" - client
begin_fuzz "$(field cluster address)" "$DIR/cluster/secret" client
begin_fuzz "$(field cluster address)" "$DIR/cluster/secret" node
while any_fuzzer; do served; done
end_fuzz
grown=$(($(peak) - before))
echo "$n_served others were served; vined grew by $grown KiB at most"
[ -n "${ASAN_OPTIONS-}" ] && grep -qa __asan_init "$(command -v vined)" || [ $grown -lt 100000 ] || fail "vined grew by $grown KiB"
alive "${pid_of[cluster]}" || fail "vined is gone"

# The node's own socket.
begin_fuzz "$(field n1 socket)" - client
while any_fuzzer; do served; done
end_fuzz
alive "$(field n1 pid)" || fail "vinefs is gone: $(tail -n 5 "$DIR/n1.log")"

# What they said is in the logs as it is said there: in plain lines.
! LC_ALL=C grep -nP '[\x00-\x08\x0b-\x1f\x7f]' "$DIR/cluster.log" "$DIR/n1.log" || fail "control characters in a log"

# What they left in the database is no hindrance.
stop cluster
start_vined cluster --node-timeout=500ms --client-timeout=1s
served
