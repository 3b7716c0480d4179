# SPDX-License-Identifier: Apache-2.0
# deadline: 100
# alone
# once
# Tasks on three nodes begin on a directory of a slow shared filesystem that nobody has sealed: they read each part of it once among them, before it is sealed; then it is,
# and is the same tree for all. A node that does not share waits for that.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
mkdir "$DIR/source" "$DIR/source/many" "$DIR/shared"
for i in 1 2 3 4 5 6; do head -c 1000000 /dev/urandom >"$DIR/source/$i"; done
head -c 18000000 /dev/urandom >"$DIR/source/rest"
for i in $(seq 400); do echo "$i" >"$DIR/source/many/$i"; done
find "$DIR/source" -exec touch -d 2001-02-03 {} +
sum=$(cat "$DIR"/source/[1-6] | sha256sum)

# 3 MB/s: all of it takes 8 s, what the tasks read 2 s, or 6 s if each did it for itself.
"$BUILD/tests/bench/slow_fs" "$DIR/shared" -f -o "source=$DIR/source,account=$DIR/account,rate=3000000,max_threads=64,ro,fsname=shared" &
slow=$!
poll 20 sh -c "[ -e '$DIR/shared/rest' ]"

start_vined cluster
for i in 1 2 3; do start_node n$i --name=n$i --feature=n$i; done
start_node n4 --name=n4 --feature=n4 --share-unsealed=no
SHOW="how status out peer-size source-size reason" post 3 "in=$DIR/shared" 'feature=n{i}' sh -c "cat '$DIR'/shared/[1-6] | sha256sum; cat '$DIR'/shared/many/* | wc -l; od -An -tu8 -j8 -N16 '$DIR/account' >'$DIR/numbers.{i}'" >"$DIR/ended" 2>"$DIR/ended.err" ||
	fail "$(cat "$DIR/ended" "$DIR/ended.err")"
set -- $(sort -n "$DIR"/numbers.? | tail -n 1)
cat "$DIR/ended"
[ "$(grep -c "^exited 0 $sum" "$DIR/ended")" = 3 ] || fail "$(cat "$DIR/ended")"
echo "read: $1 bytes"
# Of the 6 MB each got the most from others; the sealing may have read some more meanwhile.
[ "$1" -lt 16000000 ] || fail "$1 bytes of the shared filesystem were read by the tasks' ends"
given=$(awk '{ n += $(NF - 1) } END { print n }' "$DIR/ended")
[ "$given" -gt 4000000 ] || fail "only $given bytes came from other nodes"

# Who does not share is not asked to: it begins with the tree.
SHOW="how status out" post 1 "in=$DIR/shared" feature=n4 sh -c "cat '$DIR'/shared/[1-6] | sha256sum" >"$DIR/later" || fail "$(cat "$DIR/later")"
contains "$DIR/later" "exited 0 $sum"
poll 20 sh -c "vine tree bytes --json | grep -q 'file:$DIR/shared'"
vine tree bytes
kill $slow
wait $slow || true
