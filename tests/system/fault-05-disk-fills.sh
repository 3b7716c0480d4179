# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# FAULTS row 5: somebody else fills the cache's disk. No reader whose source is well gets an error or a
# wrong byte, what is not kept is said with the reason, nothing that was said is forgotten, and room that is there again is used again.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

resident() { vine cache show "$1" --json | json 'j["trees"][0]["resident"]'; }
again() { [ -n "$(worker)" ] && [ "$(worker)" != "$before" ] && vine cache; }
kill_worker() {
	before=$(worker)
	kill -KILL "$before"
	poll 20 again
}

small_disk 100M
node --cache-size=90M
make_tree "$DIR/a" 16 4
make_tree "$DIR/b" 16 4
make_tree "$DIR/c" 1 1
mkdir "$DIR/m/a"
expect 0 vine seal -q "$DIR/a" --name a
expect 0 vine cache pin a
expect 0 vine mount -q a "$DIR/m/a"

# ---- somebody else fills it
fill_disk 4
expect 0 vine seal "$DIR/b" --name b
contains "$DIR/err" "stay at their source"
contains "$DIR/err" "in use; its disk has"
contains "$DIR/err" "unmount or unpin"
read_all b "$DIR/b"
diff -r "$DIR/a" "$DIR/m/a"
expect 0 vine why b
contains "$DIR/out" "from the source"

# To the last block: names are remembered as soon as there is room, and whatever dies, what was there is there.
fill_disk 0
vine seal "$DIR/c" --name c >"$DIR/out" 2>&1 || contains "$DIR/out" "$DIR/c: the cache $DISK/cache"
read_all b "$DIR/b"
kill_worker
diff -r "$DIR/a" "$DIR/m/a"
read_all b "$DIR/b"
expect 0 vine umount "$DIR/m/a"
stop n1
fill_disk 0
node --cache-size=90M
read_all a "$DIR/a"
read_all b "$DIR/b"
empty_disk
stop n1
node --cache-size=90M
expect 0 vine cache show a
contains "$DIR/out" pinned
read_all a "$DIR/a"
expect 0 vine seal -q "$DIR/b" --name b
[ "$(resident b)" = $((20 << 20)) ] || fail "there is room again, and b is not kept"
read_all b "$DIR/b"
expect 0 vine cache verify
contains "$DIR/out" "all is well"
