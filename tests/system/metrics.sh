# SPDX-License-Identifier: Apache-2.0
# Figures for Prometheus: of vined and of a node, on their sockets and at an address, beside what else they do, and after a death. And what
# they log, to a journal.
. "$SRC/tests/system/lib.sh"

command -v curl >/dev/null || skip 'there is no curl'
figures() { curl -sf --max-time 20 --unix-socket "$DIR/$1/metrics" http://vine/metrics; }
has() { figures "$1" | grep -qxF "$2"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_vined cluster
start_node n1 --cores=2 --name=n1
[ "$(stat -c %a "$DIR/cluster/metrics" "$DIR/n1/metrics")" = $'600\n600' ] || fail 'a socket is open to others'
poll 20 has cluster 'vined_nodes 1'
poll 20 has n1 'vinefs_joined 1'
expect 0 vine run -- true
expect 3 vine run -- sh -c 'exit 3'
figures cluster >"$DIR/all"
for each in 'vined_cores{state="free"} 2' 'vined_tasks{state="running"} 0' 'vined_tasks_submitted_total 2' \
	'vined_attempts_started_total 2' 'vined_tasks_ended_total{how="exited with 0"} 1' \
	'vined_tasks_ended_total{how="exited with another status"} 1' 'vined_events_total{event="node-joined"} 1' \
	'vined_source_tokens 0' '# TYPE vined_commit_seconds histogram' 'vined_database_failing 0'; do
	contains "$DIR/all" "$each"
done
[ "$(sed -n 's/^vined_commit_seconds_count //p' "$DIR/all")" -gt 3 ] || fail "commits: $(cat "$DIR/all")"

# ---- a node: what a sealed directory costs
mkdir "$DIR/tree"
head -c 100000 /dev/urandom >"$DIR/tree/file"
export VINE_NODE="$DIR/n1"
expect 0 vine seal "$DIR/tree"
poll 20 has n1 'vinefs_sealed_bytes_total 100000'
has n1 'vinefs_fetched_bytes_total{origin="shared paths"} 100000' || fail "$(figures n1)"
has n1 'vinefs_cache_sick 0' || fail "$(figures n1)"
for each in 'vinefs_swarm_neighbours 0' 'vinefs_wrong_chunks_total 0' 'vinefs_given_bytes_total 0' 'vinefs_gifts_queued 0'; do
	has n1 "$each" || fail "$each: $(figures n1)"
done
poll 20 has cluster 'vined_moved_bytes_total{origin="sources"} 100000'

# ---- who asks wrongly, or at an address; where nobody is to ask
curl -s --unix-socket "$DIR/n1/metrics" http://vine/other | grep -q 'there is /metrics' || fail 'no word of /metrics'
port=$(free_port)
start_vined other --metrics="127.0.0.1:$port"
curl -sf --max-time 20 "http://127.0.0.1:$port/metrics" | grep -q '^vined_tasks_submitted_total 0$' || fail 'no figures at a port'
[ ! -e "$DIR/other/metrics" ] || fail 'there is a socket, too'
expect 125 vined --state="$DIR/third" --listen=127.0.0.1:0 --metrics="127.0.0.1:$port"
contains "$DIR/err" "cannot give out metrics at 127.0.0.1:$port"
stop other
start_vined other --metrics=none
[ ! -e "$DIR/other/metrics" ] || fail 'none is a socket'

# ---- a journal gets what they log, and standard error what it does not take
stop other
cat >"$DIR/journal.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(65536).decode().replace('\n', ' '), flush=True)
PY
python3 "$DIR/journal.py" "$DIR/journal" >"$DIR/journaled" &
journal=$!
poll 20 test -S "$DIR/journal"
start_vined other --log="journal:$DIR/journal"
start_node n2 --name=n2 --log="journal:$DIR/journal"
poll 20 grep -q '^PRIORITY=6 SYSLOG_IDENTIFIER=vined MESSAGE=ready at ' "$DIR/journaled"
poll 20 grep -q '^PRIORITY=6 SYSLOG_IDENTIFIER=vinefs MESSAGE=joined cluster ' "$DIR/journaled"
[ "$(grep -c 'ready at' "$DIR/other.log")" = 2 ] || fail "it is in the log, too: $(cat "$DIR/other.log")"
kill $journal
wait $journal 2>/dev/null || :
stop n2
stop other
contains "$DIR/other.log" 'stopped'
contains "$DIR/n2.log" 'stopping'

# ---- after a death it is there again
crash cluster
start cluster 'vined ready' vined --state="$DIR/cluster" --listen="$(cat "$DIR/cluster/address")"
has cluster 'vined_tasks_submitted_total 2' || fail "$(figures cluster)"
stop cluster
[ ! -e "$DIR/cluster/metrics" ] || fail 'its socket is left behind'
