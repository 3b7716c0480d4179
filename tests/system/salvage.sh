# SPDX-License-Identifier: Apache-2.0
# A damaged database is not used, and what can be read of it goes on after `vined --salvage`.
. "$SRC/tests/system/lib.sh"

state=$DIR/cluster
start_vined cluster
queued() { vine status >"$DIR/status" && grep -q '8 queued\|queued *8' "$DIR/status"; }
RUN=sweep bag 8 sh -c "echo \$VINE_TASK >>$DIR/ran" >"$DIR/bag.out" 2>"$DIR/bag.err" &
bag=$!
poll 20 queued
kill -KILL $bag
wait $bag || :
stop cluster
cp "$state/vined.db" "$DIR/before"

# Nothing to do.
expect 0 vined --salvage --state="$state"
contains "$DIR/out" 'nothing of it is damaged'
cmp "$state/vined.db" "$DIR/before"

# The page that a table begins with.
damage() { # PAGE
	printf 'spoilt' | dd of="$state/vined.db" bs=1 seek=$((($1 - 1) * 4096 + 3000)) conv=notrunc 2>"$DIR/dd"
}
command -v sqlite3 >"$DIR/found" || skip "no sqlite3"
root() { sqlite3 -readonly "$DIR/before" "SELECT rootpage FROM sqlite_master WHERE name = '$1'"; }
damage "$(root tasks)"
expect 125 vined --state="$state" --listen=127.0.0.1:0
contains "$DIR/err" "$state/vined.db"
contains "$DIR/err" 'vined --salvage'
[ "$(wc -l <"$DIR/err")" = 1 ] || fail "not one line: $(cat "$DIR/err")"

expect 0 vined --salvage --state="$state"
contains "$DIR/out" 'tasks     0 rows, 1 pages of it are damaged'
contains "$DIR/out" 'runs      1 rows'
contains "$DIR/out" "vined.db.damaged-1"
[ -e "$state/vined.db.damaged-1" ] || fail "the old one is gone"
start_vined cluster
expect 0 vine status
stop cluster

# With its tasks: what lies on other pages is all there, and runs.
cp "$DIR/before" "$state/vined.db"
damage "$(root nodes)"
expect 0 vined --salvage --state="$state"
contains "$DIR/out" 'tasks     8 rows'
start_vined cluster
start_node n1 --cores=4 --task-limit=4
RUN=sweep expect 0 bag 0 true
[ "$(wc -l <"$DIR/out")" = 8 ] || fail "not 8 results: $(cat "$DIR/out")"
[ "$(sort -u "$DIR/ran" | wc -l)" = 8 ] || fail "not 8 tasks ran"
# An instance that runs has it for itself.
expect 125 vined --salvage --state="$state"
contains "$DIR/err" "$(field cluster pid)"
