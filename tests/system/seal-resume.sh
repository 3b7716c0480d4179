# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# A sealing that is interrupted, by a signal or by the death of vinefs, has lost nothing: the next one reads what this one had not.
. "$SRC/tests/system/lib.sh"

[ -w /dev/fuse ] || skip "no /dev/fuse"
n_large=200
mkdir -p "$DIR/behind/a" "$DIR/shared"
befalls() { # stall PLACE|nothing
	echo "$1" >"$DIR/faults.new" && mv "$DIR/faults.new" "$DIR/faults"
}
befalls nothing
shared() { exec "$BUILD/tests/system/mirror" "$DIR/shared" -f -o source="$DIR/behind",faults="$DIR/faults"; }
shared &
mirror=$!
trap 'befalls nothing; umount -l "$DIR/shared" 2>/dev/null || :; on_exit' EXIT
poll 10 mountpoint "$DIR/shared"

for ((i = 0; i < n_large; i++)); do
	mkdir -p "$DIR/behind/a/$((i / 10))"
	head -c 500000 /dev/urandom >"$DIR/behind/a/$((i / 10))/large$i"
	head -c 60000 /dev/urandom >"$DIR/behind/a/$((i / 10))/small$i"
done
size=$((n_large * 560000))
# What is younger is not remembered.
touch "$DIR/written"
is_old() { [ $(($(date +%s) - $(stat -c %Z "$DIR/written"))) -gt 3 ]; }
poll 10 is_old

start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
n_stored() { find "$DIR/n1/cache/b" -type f -size 500000c 2>/dev/null | wc -l; }
has_stored() { [ "$(n_stored)" -ge "$1" ]; }

# seal_until DIRECTORY HOW: seals all before that, of which no byte comes; then HOW ends it. What was stored by then is in $stored, in bytes of large files.
seal_until() {
	local n
	n=$(find "$DIR"/behind/a/* -maxdepth 0 -printf '%f\n' | LC_ALL=C awk -v at="$1" '$0 "" < at ""' | wc -l)
	befalls "stall /a/$1/"
	# In the background a shell has SIGINT ignored.
	env --default-signal=INT vine seal -q "$DIR/shared/a" >/dev/null 2>"$DIR/seal.err" &
	sealing=$!
	poll 60 has_stored $((n * 10))
	alive $sealing || fail "it was done before it could be interrupted: $(cat "$DIR/seal.err")"
	stored=$(($(n_stored) * 500000))
	"$2"
	wait $sealing 2>/dev/null && fail "it was not interrupted: $(cat "$DIR/seal.err")"
	befalls nothing
}

has_learned() { python3 -c 'import sqlite3,sys; sys.exit(sqlite3.connect(sys.argv[1]).execute("select count(*) from keys").fetchone()[0] < int(sys.argv[2]))' "$DIR/n1/cache/catalog.db" $((stored / 500000)); }
by_hand() { kill -INT $sealing; }
is_other() { worker=$(pgrep -P "$(cat "$DIR/n1/lock")" vinefs) && [ "$worker" != "$killed" ] && vine cache ls; }
by_death() {
	killed=$(pgrep -P "$(cat "$DIR/n1/lock")" vinefs)
	# What was learned in the last 0.2 s is lost, and read again.
	poll 10 has_learned
	kill -KILL "$killed"
	befalls nothing
	poll 20 is_other
}

# The directories are 0, 1, 10, 11 ... 19, 2 ... 9, in this order.
seal_until 13 by_hand
before=$stored
seal_until 5 by_death
[ "$stored" -gt "$before" ] || fail "the second one stored nothing"
expect 0 vine seal --json "$DIR/shared/a"
n_read=$(python3 -c 'import json,sys; print(json.load(sys.stdin)["read"])' <"$DIR/out")
[ "$n_read" -le $((size - stored)) ] || fail "$n_read bytes of $size were read again, after $stored had been stored"
expect 0 vine seal --json "$DIR/shared/a" --name a
[ "$(python3 -c 'import json,sys; print(json.load(sys.stdin)["read"])' <"$DIR/out")" = 0 ] || fail "all is known, and was read again"
expect 0 vine tree check a "$DIR/behind/a"

# What an archive lacks is said with the name at which it lacks it; nothing of it is sealed.
tar -C "$DIR/behind/a" --format=pax -czf "$DIR/whole.tar.gz" .
head -c 30000000 "$DIR/whole.tar.gz" >"$DIR/cut.tar.gz"
expect 125 vine seal "$DIR/cut.tar.gz"
contains "$DIR/err" "$DIR/cut.tar.gz: "
grep -qE "(large|small)[0-9]+" "$DIR/err" || fail "no name is said: $(cat "$DIR/err")"
contains "$DIR/err" ", at byte "
expect 0 vine seal "$DIR/whole.tar.gz" --name archive
expect 0 vine tree check archive "$DIR/behind/a"
stop n1
umount "$DIR/shared"
wait $mirror
