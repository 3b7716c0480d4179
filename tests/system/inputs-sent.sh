# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# What only the client sees, in a mount namespace of its own, is there for tasks: sent once, whatever happens to it afterwards, and to the connection.
. "$SRC/tests/system/lib.sh"

start_vined cluster
address=$(field cluster address)
mkdir "$DIR/mine"
# Runs where nobody else is.
alone() { unshare -m --propagation private bash -euc 'mount -t tmpfs tmpfs "$0"; cd "$0"; . "$1/make"; shift; exec "$@"' "$DIR/mine" "$DIR" "$@"; }
cat >"$DIR/make" <<'EOF'
mkdir -p set/sub
seq 1 200000 >set/numbers
for i in 1 2 3; do echo "$i" >set/sub/$i; done
chmod 555 set/sub/1
ln -s sub/2 set/link
: >set/empty
printf 'bytes on standard input' >stdin
EOF

# Before there is a node it waits, and says for what.
alone vine run -i client:set/sub/1:one -- cat one >"$DIR/early.out" 2>"$DIR/early.err" &
early=$!
waits() { grep -q "waiting: no node.*sub/1" "$DIR/early.err"; }
poll 30 waits
start_node n1 --cores=4
wait $early || fail "before there was a node: $(cat "$DIR/early.err")"
[ "$(cat "$DIR/early.out")" = 1 ] || fail "not 1 but $(cat "$DIR/early.out")"

expect 0 alone vine run -i client:set -- sh -c 'sha256sum <set/numbers; cat set/sub/1 set/link; [ -x set/sub/1 ]; [ ! -s set/empty ]; [ -e set/empty ]'
[ "$(cat "$DIR/out")" = "$(seq 1 200000 | sha256sum)
1
2" ] || fail "the task saw something else: $(cat "$DIR/out")"
[ -z "$(ls "$DIR/mine")" ] || fail "the test's own namespace has the files"

# An absolute one keeps its path, which the node has not.
expect 0 alone vine run -i "client:$DIR/mine/set" -- cat "$DIR/mine/set/sub/3"
[ "$(cat "$DIR/out")" = 3 ] || fail "not 3 but $(cat "$DIR/out")"

# Not what the client has goes wrong then, but what it asked for.
expect 125 alone vine run -i client:missing -- true
contains "$DIR/err" "$DIR/mine/missing"
contains "$DIR/err" "No such file"

# A cluster on another machine, and a filesystem of this one: sent without being told.
expect 0 alone env VINE="$address" VINE_SECRET="$DIR/cluster/secret" vine run -i set/sub -- cat set/sub/2
[ "$(cat "$DIR/out")" = 2 ] || fail "not 2 but $(cat "$DIR/out")"
# This machine's nodes would see it, if it were not in a namespace of its own: the error says of what.
expect 1 sh -c "$(declare -f alone); DIR='$DIR'; alone vine run -i set/sub -- cat set/sub/2 || exit 1"
contains "$DIR/err" "$DIR/mine/set/sub"
contains "$DIR/err" "client:set/sub sends it"

expect 0 alone vine run --stdin client:stdin -- cat
[ "$(cat "$DIR/out")" = "bytes on standard input" ] || fail "standard input was $(cat "$DIR/out")"

# Killed in the middle: vined, then the node. The client waits for both, and all comes.
cat >>"$DIR/make" <<'EOF'
head -c 64M /dev/urandom >set/large
EOF
alone bash -c 'sha256sum <set/large >"$1/sum"; exec vine run -i client:set -- sh -c "sha256sum <set/large"' bash "$DIR" >"$DIR/large.out" 2>"$DIR/large.err" &
client=$!
made() { [ -s "$DIR/sum" ]; }
poll 30 made
crash cluster
start_vined cluster --listen="$address"
wait $client || fail "the run over a crash: $(cat "$DIR/large.err")"
cmp "$DIR/sum" "$DIR/large.out" || fail "what came is not what was sent"
