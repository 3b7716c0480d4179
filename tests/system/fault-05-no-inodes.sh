# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# FAULTS row 5: the cache's disk has bytes and no inodes left, by trees of many files and by somebody else's.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

resident() { vine cache show "$1" --json | json 'j["trees"][0]["resident"]'; }
many() { # DIR: 120 files, each a blob of its own
	mkdir "$1"
	head -c $((120 * 140000)) /dev/urandom | split -a 4 -b 140000 - "$1/"
	find "$1" -exec touch -hd '2001-02-03 04:05:06' {} +
}

small_disk 100M 512
node
for i in {1..8}; do
	many "$DIR/t$i"
	expect 0 vine seal -q "$DIR/t$i" --name t$i
done
expect 0 vine cache ls --json
[ "$(json 'j["files"] <= j["files_quota"]' <"$DIR/out")" = True ] || fail "more inodes than its limit: $(cat "$DIR/out")"
[ "$(resident t1)" = 0 ] || fail "t1 was used longest ago, and is still there"
mkdir "$DIR/m/held"
expect 0 vine mount -q t1 "$DIR/m/held"
mkdir "$DISK/others"
for i in {2..8}; do
	read_all t$i "$DIR/t$i"
	diff -r "$DIR/t1" "$DIR/m/held"
done

# Somebody else takes what is left.
i=0
while : >"$DISK/others/$((i++))"; do :; done 2>"$DIR/full"
contains "$DIR/full" "No space left"
for i in {8..2}; do read_all t$i "$DIR/t$i"; done
many "$DIR/new"
vine seal "$DIR/new" --name new >"$DIR/out" 2>&1 || contains "$DIR/out" "$DIR/new: the cache $DISK/cache"
diff -r "$DIR/t1" "$DIR/m/held"
rm -r "$DISK/others"
kept() { vine seal -q "$DIR/new" --name new --refresh && [ "$(resident new)" = $((120 * 140000)) ]; }
poll 20 kept
read_all new "$DIR/new"
expect 0 vine umount "$DIR/m/held"
expect 0 vine cache verify
contains "$DIR/out" "all is well"
