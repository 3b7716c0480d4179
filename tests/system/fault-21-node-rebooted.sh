# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 21: the node is rebooted, or what it keeps is lost in part or in whole while it is off. Every blob is verified before its
# first use, what can be found from the rest is, no wrong byte is read; a directory of a newer program is left alone.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

cache=$DISK/cache
state() { vine cache ls --json | json "j[\"$1\"]"; }
for each in a b; do make_tree "$DIR/$each" 16 4; done
node --scrub-rate=0
node_id=$(cat "$cache/node-id")
for each in a b; do expect 0 vine seal -q "$DIR/$each" --name $each; done
a=$(vine cache show a --json | json 'j["trees"][0]["tree"]') # by its id a tree is never read past the cache, as a draft is
b=$(vine cache show b --json | json 'j["trees"][0]["tree"]')
expect 0 vine cache pin a
both() { # [by their paths]
	read_all "${1-$a}" "$DIR/a"
	read_all "${2-$b}" "$DIR/b"
}
both

# ---- the machine goes down at once, and comes again
blobs=$(state blobs)
kill_all
reboot
node --scrub-rate=0
[ "$(state unverified)" = "$blobs" ] || fail "$(state unverified) of $blobs blobs are in doubt"
read_all "$a" "$DIR/a"
[ "$(state unverified)" -gt 0 ] || fail "all of it was verified, where one tree was read"
[ "$(state unverified)" -lt "$blobs" ] || fail "a tree was read unverified"
# What was verified is so until the next boot, whatever dies.
left=$(state unverified)
vine seal -q "$DIR/a" --name again >"$DIR/out"
kill_all
node --scrub-rate=0
[ "$(state unverified)" -le "$blobs" ] || fail "$(state unverified) are in doubt, of $left"
both
[ "$(state unverified)" = 0 ] || fail "read, and not verified"
stop n1
node --scrub-rate=0
[ "$(state unverified)" = 0 ] || fail "in doubt without a reboot"

# ---- parts of it are lost
sealed() { [ "$(vine cache ls --json | json 'len(j["trees"])')" -ge 2 ]; }
lose() { # WHAT...: below the cache's directory; it starts, and both are read right by their paths
	stop n1
	(cd "$cache" && rm -rf -- "$@")
	node --scrub-rate=0
	both "$DIR/a" "$DIR/b"
	poll 20 sealed
	expect 0 vine cache verify
	contains "$DIR/out" "all is well"
}
lose catalog.db catalog.db-wal catalog.db-shm
expect 0 vine cache ls
contains "$DIR/out" "${a:0:12}"
lose b
lose b p q tmp s
lose t
lose sources
lose catalog.db sources
lose VERSION
lose node-id
[ -n "$(cat "$cache/node-id")" ] && [ "$(cat "$cache/node-id")" != "$node_id" ] || fail "no id of its own"
stop n1
for garbage in "" "garbage" "$(head -c 5000 /dev/zero | tr '\0' x)"; do
	for each in catalog.db node-id sources; do printf %s "$garbage" >"$cache/$each"; done
	node --scrub-rate=0
	both "$DIR/a" "$DIR/b"
	stop n1
done
node --scrub-rate=0
lose VERSION node-id catalog.db sources t b p q tmp s
lose t b catalog.db
stop n1
rm -rf "$NODE" "$cache"
node --scrub-rate=0
both "$DIR/a" "$DIR/b"
stop n1

# ---- a newer program's
listing() { (cd "$cache" && find . -printf '%p %m %s %T@ %i\n' | sort && cat VERSION); }
echo 2 >"$cache/VERSION"
listing >"$DIR/before"
vinefs --vined=none --state="$NODE" --cache="$cache" >"$DIR/newer.out" 2>&1 </dev/null &
newer=$!
said() { grep -q "made by a newer program (version 2, this one knows 1)" "$DIR/newer.out"; }
poll 20 said
cat "$DIR/newer.out"
poll 20 gone $newer
listing >"$DIR/after"
diff "$DIR/before" "$DIR/after" || fail "it was touched"
