# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS 20: a vinefs that is stopped for a short while makes readers wait; one that is stopped for long has its mounts taken away: readers get an
# error, never a hang, and a new vinefs serves new mounts.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
worker() { pgrep -P "$(cat "$DIR/n1/lock")" vinefs; }
trap 'umount -l "$DIR/m" 2>/dev/null || :; on_exit' EXIT

mkdir "$DIR/a" "$DIR/m"
seq 1 1000000 >"$DIR/a/big"
expect 0 vine mount -q "$DIR/a" "$DIR/m"
stopped=$(worker)

# Short: the reader waits, and gets what it wanted.
kill -STOP "$stopped"
cmp "$DIR/m/big" "$DIR/a/big" &
reader=$!
until_sec=$((SECONDS + 3))
waited() { [ $SECONDS -ge $until_sec ]; }
poll 10 waited
alive $reader || fail "the reader did not wait"
kill -CONT "$stopped"
wait $reader || fail "the reader got something else"

# Long: an error, within the hand's ten seconds and a bit.
kill -STOP "$stopped"
python3 -c 'import os, sys; fd = os.open(sys.argv[1], 0); os.posix_fadvise(fd, 0, 0, 4); os.read(fd, 1 << 20)' "$DIR/m/big" 2>"$DIR/error" &
reader=$!
poll 20 gone "$stopped"
poll 5 gone $reader
wait $reader && fail "it read something"
contains "$DIR/error" "OSError"
contains "$DIR/n1.log" "silent"

again() { vine mount >"$DIR/list" && [ ! -s "$DIR/list" ]; }
poll 20 again
expect 0 vine mount -q "$DIR/a" "$DIR/m"
cmp "$DIR/m/big" "$DIR/a/big"
expect 0 vine umount "$DIR/m"
