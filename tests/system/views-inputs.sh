# SPDX-License-Identifier: Apache-2.0
# What tasks read: at the paths they declared, existing or not, files and directories, large and small, known or not; in each tier.
# deadline: 240
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/inputs-lib"

start_vined cluster

# What changed after it was declared, and before any node has seen it, is not read: two versions are never mixed.
head -c 1000 "$data/one" >"$data/two"
vine run -i "$data/two" -- cat "$data/two" >"$DIR/late.out" 2>"$DIR/late.err" &
late=$!
waits() { vine status --json | grep -q '"queued": *[1-9]\|"waiting": *[1-9]'; }
poll 10 waits
echo more >>"$data/two"

start_node n1 --name=n1
! wait $late || fail "a task read what had changed: $(cat "$DIR/late.out")"
contains "$DIR/late.err" "$data/two"
contains "$DIR/late.err" "has changed"
contains "$DIR/n1.log" 'tier views'
look views
# A path that no host has.
expect 0 vine run -i "$data/tree:/opt/vine-test/never/there" -- cat /opt/vine-test/never/there/f5
[ "$(cat "$DIR/out")" = "file 5" ] || fail "a path that the host lacks: $(cat "$DIR/out")"
[ ! -e /opt/vine-test ] || fail "the host has got a path"
# Once it is sealed, a large file is the cache's own.
poll 30 bound

stop n1

start_node n2 --name=n2 --tier=mount
contains "$DIR/n2.log" 'tier mount'
look mount
stop n2
! grep -q "fuse.vine" /proc/self/mounts || fail "a mount is left: $(grep fuse.vine /proc/self/mounts)"

start_node n3 --name=n3 --tier=plain
contains "$DIR/n3.log" 'tier plain'
look plain
stop n3
