# SPDX-License-Identifier: Apache-2.0
# deadline: 150
# threaded
# What an adversary found in vined: sick nodes, several clients of one run, requests without end, odd directories.
. "$SRC/tests/system/lib.sh"

# The state directory may lie under a symbolic link.
mkdir "$DIR/real" && ln -s real "$DIR/link"
start vlink 'vined ready' vined --state="$DIR/link/state" --listen=127.0.0.1:0
stop vlink

# What is no database is named, with what to do.
mkdir -m 700 "$DIR/bad" && head -c 20000 /dev/urandom >"$DIR/bad/vined.db"
expect 125 vined --state="$DIR/bad" --listen=127.0.0.1:0
contains "$DIR/err" 'move it away'
expect 125 vined --state="$DIR/bad" --name="$(printf 'n%.0s' {1..65})"
contains "$DIR/err" '64'

start_vined cluster --client-timeout=1s

# A task that waits says why.
vine run -- echo late >"$DIR/late.out" 2>"$DIR/late.err" &
late=$!
said() { grep -q "$1" "$2"; }
poll 20 said 'waiting: no node is connected' "$DIR/late.err"

# A node with a full disk: nothing is held, all runs, elsewhere at last.
mkdir "$DIR/n1" && mount -t tmpfs -o size=512k,mode=0700 tmpfs "$DIR/n1"
start_node n1 --name=n1 --cores=4 --task-limit=4 --reconnect=100ms
wait $late || fail "the task that waited: $(cat "$DIR/late.err")"
[ "$(grep -c waiting "$DIR/late.err")" = 1 ] || fail "said again and again: $(cat "$DIR/late.err")"
dd if=/dev/zero of="$DIR/n1/fill" bs=1k count=2000 2>/dev/null || :
RUN=full bag 30 true >"$DIR/bag.out" 2>"$DIR/bag.err" &
bag=$!
resting() { vine status >"$DIR/status" && grep -q 'resting: ' "$DIR/status"; }
poll 30 resting
start_node n2 --name=n2 --cores=2 --task-limit=2
wait $bag || fail "$(cat "$DIR/bag.err")"
[ "$(awk '$2 == "exited" && $3 == 0' "$DIR/bag.out" | wc -l)" = 30 ] || fail "$(sort "$DIR/bag.out" | uniq -c)"
expect 0 vine status
contains "$DIR/out" '0 held'
rm "$DIR/n1/fill"

# More than any node has.
vine run --cores=1000 -- true 2>"$DIR/large.err" &
large=$!
poll 20 said 'no node is large enough: it needs 1000 cores, the largest has' "$DIR/large.err"
kill -INT $large
wait $large || :
expect 125 vine run --cores=65537 -- true
contains "$DIR/err" 65536
expect 125 vine run --name="$(printf 'r%.0s' {1..129})" -- true
contains "$DIR/err" 128

# Two clients of one run: to each its own.
mkfifo "$DIR/gate"
RUN=same bag 20 sh -c "read -r x <$DIR/gate || :" >"$DIR/one.out" 2>"$DIR/one.err" &
one=$!
queued() { vine status >"$DIR/status" && grep -q '[1-9][0-9]* queued' "$DIR/status"; }
poll 20 queued
RUN=same bag 20 true >"$DIR/two.out" 2>"$DIR/two.err" &
two=$!
exec 9<>"$DIR/gate"
yes 2>/dev/null | head -n 40 >&9
wait $one || fail "$(cat "$DIR/one.err")"
wait $two || fail "$(cat "$DIR/two.err")"
exec 9>&-
[ "$(wc -l <"$DIR/one.out")" = 20 ] && [ "$(wc -l <"$DIR/two.out")" = 20 ] || fail "results went to the wrong client"

# A client that is killed leaves no results behind.
vine run -- sh -c "touch $DIR/began; exec sleep 300" &
client=$!
began() { [ -e "$DIR/began" ]; }
poll 20 began
kill -KILL $client
wait $client || :
clean() { vine status >"$DIR/status" && grep -q ' 0 running, 0 held, 0 ended' "$DIR/status"; }
poll 20 clean

# A copy of a node may not rename it.
cp -a "$DIR/n2" "$DIR/copy"
rm -rf "$DIR/copy"/*.sock "$DIR/copy/lock" "$DIR/copy/s"
vinefs --state="$DIR/copy" --vined="$(field cluster address)" --secret="$DIR/cluster/secret" --name=thief \
	>"$DIR/copy.out" 2>"$DIR/copy.log" </dev/null &
copy=$!
refused() { grep -q 'is in use by' "$DIR/cluster.log"; }
poll 20 refused
expect 0 vine status
contains "$DIR/out" n2
! grep -q thief "$DIR/out" || fail "the copy renamed the node"
kill -TERM $copy
wait $copy || :

# Over the wire: a vined is no client, and reading nothing costs vined nothing.
expect 0 atk "$VINE" role 1
contains "$DIR/out" 'wrong role'
RUN=large expect 0 bag 1 sh -c 'head -c 60000 /dev/zero'
task=$(cut -d' ' -f1 "$DIR/out")
peak() { awk '/VmHWM/ { print $2 }' "/proc/${pid_of[cluster]}/status"; }
before=$(peak)
expect 0 atk "$VINE" outputs "$task" 2000
grown=$(($(peak) - before))
echo "2000 outputs at once: $(cat "$DIR/out"), vined grew by $grown KiB"
[ "$(cut -d' ' -f1 "$DIR/out")" -gt 100 ] || fail "nothing was refused"
[ -n "${ASAN_OPTIONS-}${TSAN_OPTIONS-}" ] || [ $grown -lt 20000 ] || fail "vined holds what nobody reads"

# A client that is stopped for long is not gone.
vine run -- sh -c "touch $DIR/halted; while [ ! -e $DIR/go ]; do sleep 0.1; done; echo awake" >"$DIR/z.out" 2>"$DIR/z.err" &
client=$!
halted() { [ -e "$DIR/halted" ]; }
poll 20 halted
kill -STOP $client
late=$((SECONDS + 36))
over() { [ $SECONDS -ge $late ]; }
poll 60 over
kill -CONT $client
touch "$DIR/go"
wait $client || fail "the stopped client: $(cat "$DIR/z.err")"
contains "$DIR/z.out" awake

stop n1
umount "$DIR/n1"
