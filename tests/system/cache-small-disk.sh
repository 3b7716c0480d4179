# SPDX-License-Identifier: Apache-2.0
# deadline: 360
# once
# A cache on 200 MB, trees of 500 MB: it evicts, never fails a leased read, says what found no room and why.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

small_disk 200M
node
quota=$(vine cache ls --json | json 'j["quota"]')
[ $quota -lt $((200 << 20)) ] || fail "a quota of $quota on 200 MB"
size() { vine cache ls --json | json 'j["size"]'; }
resident() { vine cache show "$1" --json | json 'j["trees"][0]["resident"]'; }

# Fifteen of 34 MB, each kept whole, or not at all.
for i in {1..15}; do
	make_tree "$DIR/t$i" 24 10
	expect 0 vine seal -q "$DIR/t$i" --name t$i
	[ "$(size)" -le $quota ] || fail "more than the quota"
done
[ "$(resident t1)" = 0 ] || fail "t1 was used longest ago, and is still there"
[ "$(resident t15)" = $((34 << 20)) ] || fail "t15 came last, and is not there"
expect 0 vine why t1
contains "$DIR/out" "next read: from the source"
expect 0 vine why t15
contains "$DIR/out" "next read: from the cache"
expect 0 vine cache du
cat "$DIR/out"

# One of them mounted and read all the time, while the others come and go.
mkdir "$DIR/m/held"
expect 0 vine mount -q t1 "$DIR/m/held"
(until [ -e "$DIR/over" ]; do diff -r "$DIR/t1" "$DIR/m/held" || exit; done) >"$DIR/held.out" 2>&1 &
held=$!
for i in {2..15}; do read_all t$i "$DIR/t$i"; done
[ "$(resident t1)" = $((34 << 20)) ] || fail "a leased tree is not whole: $(resident t1)"
touch "$DIR/over"
wait $held || fail "a leased read failed: $(tail -n 3 "$DIR/held.out")"

# All of them leased at once, three times what there is room for.
for i in {2..15}; do
	mkdir "$DIR/m/t$i"
	expect 0 vine mount -q t$i "$DIR/m/t$i"
done
for i in {2..15}; do diff -r "$DIR/t$i" "$DIR/m/t$i" || fail "t$i"; done
[ "$(size)" -le $quota ] || fail "more than the quota"
expect 0 vine why t15
cat "$DIR/out"
contains "$DIR/out" "room: none for all of the tree"
for i in {2..15}; do expect 0 vine umount "$DIR/m/t$i"; done
rm -r "$DIR"/t{2..15}

# One tree of 500 MB.
make_tree "$DIR/big" 470 30
expect 0 vine seal "$DIR/big" --name big
cat "$DIR/out" "$DIR/err"
diff -r "$DIR/t1" "$DIR/m/held"
read_all big "$DIR/big"
[ "$(size)" -le $quota ] || fail "more than the quota"
expect 0 vine why big
cat "$DIR/out"
expect 0 vine cache verify
rm -r "$DIR/big"
expect 0 vine umount "$DIR/m/held"
tail -n 20 "$DIR/n1.log"
