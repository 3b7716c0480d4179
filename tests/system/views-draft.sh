# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# A task starts on a directory that nobody has read yet, reads what it needs of it, and goes on when it is sealed; tasks of the same item share it; a change in between is an error for that file alone, never a mixture.
. "$SRC/tests/system/lib.sh"

data=$DIR/data
mkdir -p "$data/tree/sub"
for ((i = 0; i < 200; i++)); do head -c 100000 /dev/urandom >"$data/tree/sub/$i"; done
start_vined cluster
start_node n1 --name=n1 --task-limit=4
expect 0 vine run -i "$data/tree:in" -- sh -c 'readlink -f in; cat in/sub/* | cksum'
[ "$(tail -n 1 "$DIR/out")" = "$(cat "$data"/tree/sub/* | cksum)" ] || fail "not what lies there"

# Sealed while it is read: one reader from before to after.
cat >"$data/reader" <<'END'
cd in/sub || exit 3
for ((i = 0; ; i = (i + 1) % 200)); do
	cmp -s "$i" "$1/$i" || exit 4
	touch "$2/began"
	[ ! -e "$2/over" ] || exit 0
done
END
mkdir "$data/second"
cp -r "$data/tree/sub" "$data/second/sub"
vine run -i "$data/second:in" -- bash "$data/reader" "$data/second/sub" "$DIR" >"$DIR/reader" 2>&1 &
reader=$!
poll 20 test -e "$DIR/began"
sealed() { VINE_NODE="$DIR/n1" vine cache ls --json 2>/dev/null | grep -q "$data/second"; }
poll 30 sealed
touch "$DIR/over"
wait $reader || fail "the reader ended with $?: $(cat "$DIR/reader")"

# A file that changes before it is read: the task's result says which, what it was and what it is. Its directory is being sealed all that time: one file of it does not answer.
[ -e /dev/fuse ] || skip "no /dev/fuse"
mkdir "$DIR/shared" "$data/behind"
echo first >"$data/behind/a"
echo old >"$data/behind/f"
echo "stall /a" >"$DIR/faults"
"$BUILD/tests/system/mirror" "$DIR/shared" -f -o source="$data/behind",faults="$DIR/faults",attr_timeout=0,entry_timeout=0 &
mirror=$!
poll 10 mountpoint -q "$DIR/shared"
vine run -i "$DIR/shared:in" -- sh -c "touch $DIR/begun; until [ -e $DIR/changed ]; do sleep 0.05; done; cat in/f" >"$DIR/run.out" 2>&1 &
run=$!
poll 20 test -e "$DIR/begun"
echo "new and longer" >"$data/behind/f"
touch "$DIR/changed"
status=0
wait $run || status=$?
[ $status = 1 ] || fail "it ended with $status: $(cat "$DIR/run.out")"
contains "$DIR/run.out" "input file:$DIR/shared could not be read: $DIR/shared/f has changed while it was sealed: it was 4 bytes of "
contains "$DIR/run.out" ", it is 15 bytes of "
: >"$DIR/faults"
stop n1
umount "$DIR/shared"
wait $mirror || :
