# SPDX-License-Identifier: Apache-2.0
# Another machine becomes a node: with the secret on standard input, in the foreground for service managers and batch systems, with what a Slurm job has of it; and why it cannot.
. "$SRC/tests/system/lib.sh"

start_vined cluster
address=$(field cluster address)
state=$HOME/.local/state/vine/join-127.0.0.1-${address##*:}
connected() { vine status | grep "^$1  *connected"; }

# ---- why it cannot, at once and in a sentence
expect 125 vine join
contains "$DIR/err" 'which cluster?'
expect 125 vine join /a/socket
contains "$DIR/err" 'not HOST:PORT'
expect 125 vine join "$address"
contains "$DIR/err" '--secret=FILE is missing'
expect 125 vine join "$address" --secret - </dev/null
contains "$DIR/err" 'nothing came'
expect 125 vine join "$address" --secret - <<<'not a secret'
contains "$DIR/err" 'hex digits'
[ ! -e "$state/secret" ] || fail "what is no secret is kept"
cp "$DIR/cluster/secret" "$DIR/copy"
chmod 644 "$DIR/copy"
expect 125 vine join "$address" --secret "$DIR/copy"
contains "$DIR/err" 'chmod 600'
expect 125 vine join nohost.invalid:7420 --secret "$DIR/cluster/secret"
contains "$DIR/err" 'no such host is known'
mkdir -m 700 "$DIR/other"
head -c 32 /dev/zero | od -An -tx1 -v | tr -d ' \n' >"$DIR/other/secret"
chmod 600 "$DIR/other/secret"
expect 125 vine join "$address" --secret "$DIR/other/secret"
contains "$DIR/err" "secret"

# ---- the secret comes on standard input, and is kept for the next time
expect 0 vine join "$address" --secret - --name far <"$DIR/cluster/secret"
contains "$DIR/out" "vine down $address"
connected far >"$DIR/found"
[ "$(stat -c %a "$state/secret")" = 600 ] || fail "others may read it"
! tr '\0' '\n' <"/proc/$(cat "$state/lock")/cmdline" | grep -qF "$(cat "$state/secret")" || fail "the secret is in its command line"
expect 125 vine join "$address"
contains "$DIR/err" 'is a node of'
expect 0 vine down "$address"
expect 0 env VINE="$address" vine join --name again
connected again >"$DIR/found"
expect 0 vine down "$address"

# ---- in the foreground it is the node: its number, its group, its signals, its status
job() { exec env VINE_SECRET="$DIR/cluster/secret" SLURMD_NODENAME=n7 SLURM_JOB_ID=1 SLURM_CPUS_ON_NODE=3 SLURM_MEM_PER_NODE=512 \
	SLURM_JOB_END_TIME=$(($(date +%s) + 600)) "$@"; }
start step 'vinefs ready' job vine join "$address" --no-detach
[ "$(cat "$state-n7/lock")" = "${pid_of[step]}" ] || fail "it is another process"
[ "$(ps -o pgid= -p "${pid_of[step]}")" -eq "$(ps -o pgid= -p $$)" ] || fail "it has left the process group"
expect 0 vine status --json
[ "$(vine status --json | grep -A8 '"name": "n7"' | sed -n 's/.*"cores": //p' | tr -d ,)" = 3 ] || fail "n7 offers: $(vine status --json)"
expect 0 vine submit --wall-time 1h --name long -- true
expect 0 vine why long
contains "$DIR/out" 'no connected node stays as long'
expect 0 vine cancel long
expect 0 vine run --wall-time 1m -- true
stop step
job vine join "$address" --no-detach --state "$DIR/place" --name placed >"$DIR/placed.out" 2>"$DIR/placed.err" &
placed=$!
poll 10 connected placed
stop cluster
kill -TERM $placed
wait $placed || fail "status $? on SIGTERM"

# ---- the own node of a cluster that listens is where others can find it
ip address add 10.9.0.1/32 dev lo
expect 0 env -u VINE vine up --listen 10.9.0.1:0
contains "$HOME/.local/state/vine/node/vinefs.log" 'other nodes find this one at 10.9.0.1:'
expect 0 env -u VINE vine down

# ---- a service manager is told when it is ready
command -v python3 >/dev/null || exit 0
cat >"$DIR/listen.py" <<'PYTHON'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
for _ in range(2):
    print(s.recv(4096).decode().splitlines(), flush=True)
PYTHON
start manager listening python3 "$DIR/listen.py" "$DIR/notify"
export NOTIFY_SOCKET=$DIR/notify
start_vined service
start_node member
unset NOTIFY_SOCKET
poll 5 grep -q "READY=1.*STATUS=vined ready" "$DIR/manager.out"
poll 5 grep -q "READY=1.*STATUS=vinefs ready" "$DIR/manager.out"
poll 5 gone "${pid_of[manager]}"
unset 'pid_of[manager]'
