# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# A directory is mounted as soon as its names are known: it is read while it is sealed, under numbers that stay when vinefs dies, is replaced, and when the
# tree takes the draft's place. What changes meanwhile is an error by name, never other bytes.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
mkdir -p "$DIR/behind" "$DIR/shared" "$DIR/names" "$DIR/m" "$DIR/m2"
befalls() { # stall|nothing [names]: whoever opens a held file; whoever looks for a name
	echo "$1" >"$DIR/faults.new" && mv "$DIR/faults.new" "$DIR/faults${2+.$2}"
}
befalls nothing
befalls nothing names
for name in a b c d e f g; do echo "held $name" >"$DIR/behind/$name"; done
# Whoever opens one of its files waits while it stalls; what the kernel knows of them it goes on to know.
shared() { # DIRECTORY FAULTS
	exec "$BUILD/tests/system/mirror" "$1" -f -o source="$DIR/behind",faults="$2",attr_timeout=3600,entry_timeout=3600,intr
}
shared "$DIR/shared" "$DIR/faults" &
mirrors=($!)
shared "$DIR/names" "$DIR/faults.names" &
mirrors+=($!)
trap 'befalls nothing; befalls nothing names; umount -l "$DIR"/m "$DIR"/m2 "$DIR"/[abcdefg]/0held? "$DIR/e/sub/names" "$DIR/shared" "$DIR/names" 2>/dev/null || :; on_exit' EXIT
poll 10 mountpoint "$DIR/shared"
poll 10 mountpoint "$DIR/names"

source_of() { # NAME: a directory, all threads of whose sealing stand still at its first files as long as it stalls
	mkdir -p "$DIR/$1/sub"
	head -c 6000000 /dev/urandom >"$DIR/$1/big"
	for i in 1 2 3 4 5 6 7 8; do head -c $((i * 9000)) /dev/urandom >"$DIR/$1/sub/$i"; done
	ln -s sub/3 "$DIR/$1/link"
	for i in 1 2 3 4; do
		: >"$DIR/$1/0held$i"
		mount --bind "$DIR/shared/$1" "$DIR/$1/0held$i"
		stat "$DIR/$1/0held$i" >"$DIR/out"
	done
	befalls stall
}
attributes() { (cd "$1" && find . ! -type d -printf "${2-}%P %y %m %s %T@ %l\n" | sort); }
uncached() { dd if="$1" iflag=nocache of=/dev/null count=0 status=none; }
worker() { pgrep -P "$(cat "$VINE_NODE/lock")" vinefs; }
why_says() { vine why "$2" >"$DIR/why" && grep -qF -e "$1" "$DIR/why"; }
logged() { grep -qF -e "$1" "$DIR/n1.log"; }
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1" --seal-threads=4
export VINE_NODE=$DIR/n1

source_of a
expect 0 timeout 60 vine mount "$DIR/a" "$DIR/m"
contains "$DIR/err" "sealed behind"
expect 0 vine mount
grep -qE " draft, [0-9]+ % " "$DIR/out" || fail "the list does not say how far it is: $(cat "$DIR/out")"
of_mount() { # KEY
	vine mount --json | python3 -c 'import json, sys; print(*[m[sys.argv[1]] for m in json.load(sys.stdin)])' "$1"
}
[ "$(of_mount draft)" = True ] && [ -z "$(of_mount reason)" ] || fail "it is no draft: $(vine mount --json)"
of_size() { [ "$(of_mount draft_total)" = "$1" ]; }
poll 10 of_size $((6000000 + 36 * 9000 + 4 * 7))
cmp "$DIR/m/big" "$DIR/a/big"
diff -r "$DIR/m/sub" "$DIR/a/sub"
attributes "$DIR/a" >"$DIR/a.list"
attributes "$DIR/m" >"$DIR/m.list"
diff "$DIR/a.list" "$DIR/m.list"
attributes "$DIR/m" '%i ' >"$DIR/numbers"
expect 0 vine why "$DIR/m/sub/3"
contains "$DIR/out" "being sealed"

# Readers, whose bytes are asked for anew in each round, an open file, and one of which nothing was read.
exec {open}<"$DIR/m/sub/8"
python3 "$SRC/tests/system/readers.py" "$DIR/m/big" "$DIR/a/big" "$DIR/stop" >"$DIR/readers" 2>&1 &
readers=$!
poll 20 test -s "$DIR/readers"
before=$(worker)
kill -KILL "$before"
again() { [ -n "$(worker)" ] && [ "$(worker)" != "$before" ] && vine mount | grep -q "$DIR/m"; }
poll 20 again
uncached "$DIR/m/big"
cmp "$DIR/m/big" "$DIR/a/big"
poll 20 why_says "being sealed" "$DIR/m/big"
expect 0 vine node upgrade
cmp "$DIR/m/sub/7" "$DIR/a/sub/7"
poll 20 why_says "being sealed" "$DIR/m/big"
attributes "$DIR/m" '%i ' | diff "$DIR/numbers" -

# It is sealed, and nobody sees it.
befalls nothing
poll 30 logged "on $DIR/m is sealed"
[ "$(of_mount draft)" = False ] || fail "it is a draft still: $(vine mount --json)"
expect 0 vine mount
contains "$DIR/out" " sealed "
uncached "$DIR/m/big"
cmp "$DIR/m/big" "$DIR/a/big"
cmp /dev/fd/$open "$DIR/a/sub/8"
exec {open}<&-
[ "$(cat "$DIR/m/0held2")" = "held a" ] || fail "held has other bytes"
attributes "$DIR/m" '%i ' | diff "$DIR/numbers" -
touch "$DIR/stop"
wait $readers || fail "a reader saw it: $(cat "$DIR/readers")"
poll 10 why_says "next read: from the cache" "$DIR/m/big"
# An ordinary tree from now on: the source may go, and vinefs may die.
umount "$DIR"/a/0held?
mv "$DIR/a" "$DIR/away"
before=$(worker)
kill -KILL "$before"
poll 20 again
for f in big sub/1; do uncached "$DIR/m/$f"; cmp "$DIR/m/$f" "$DIR/away/$f"; done
attributes "$DIR/m" '%i ' | diff "$DIR/numbers" -
expect 0 vine umount "$DIR/m"

# What changes after somebody read of it is an error, and named; the rest is what it was.
source_of b
expect 0 timeout 60 vine mount -q "$DIR/b" "$DIR/m"
head -c 4096 "$DIR/m/big" | cmp - <(head -c 4096 "$DIR/b/big")
cp "$DIR/b/big" "$DIR/big"
head -c 6000000 /dev/zero | dd of="$DIR/b/big" conv=notrunc status=none
expect 1 dd if="$DIR/m/big" bs=1M skip=3 count=1 of=/dev/null status=none
contains "$DIR/err" "Stale file handle"
befalls nothing
poll 30 logged "on $DIR/m stays a draft"
contains "$DIR/n1.log" "$DIR/b/big"
expect 0 vine mount
contains "$DIR/out" " draft: 1 files changed before they were sealed"
of_mount reason | grep -qF "$DIR/b/big: mount again" || fail "the reason is $(of_mount reason)"
expect 1 dd if="$DIR/m/big" bs=1M skip=5 count=1 of=/dev/null status=none
contains "$DIR/err" "Stale file handle"
head -c 4096 "$DIR/m/big" | cmp - <(head -c 4096 "$DIR/big")
diff -r "$DIR/m/sub" "$DIR/b/sub"
expect 0 vine why "$DIR/m/big"
contains "$DIR/out" "mount again"
expect 0 vine mount -q "$DIR/b" "$DIR/m2"
cmp "$DIR/m2/big" "$DIR/b/big"
expect 0 vine umount "$DIR/m2"
expect 0 vine umount "$DIR/m"

# A vinefs that comes after another does not serve other names or files as the same.
source_of c
expect 0 timeout 60 vine mount -q "$DIR/c" "$DIR/m"
cmp "$DIR/m/sub/1" "$DIR/c/sub/1"
echo more >>"$DIR/c/sub/2"
before=$(worker)
kill -KILL "$before"
ended() { [ "$(worker)" != "$before" ] && vine mount >"$DIR/out" && ! grep -q "$DIR/m" "$DIR/out"; }
poll 20 ended
contains "$DIR/n1.log" "$DIR/c has changed since it was mounted as a draft on $DIR/m"
expect 1 cat "$DIR/m/sub/3"
contains "$DIR/err" "not connected"
befalls nothing
expect 0 vine umount "$DIR/m"

# It is unmounted at once; what was begun is sealed.
source_of d
expect 0 timeout 60 vine mount -q "$DIR/d" "$DIR/m"
cmp "$DIR/m/big" "$DIR/d/big"
expect 0 timeout 20 vine umount "$DIR/m"
befalls nothing
sealed() { vine cache ls --json | grep -qF "\"$DIR/d\""; }
poll 30 sealed

# Who was told of a draft that gives way to its tree before he mounts it still gets it, though nobody else has it any more.
source_of f
expect 0 timeout 60 vine mount -q "$DIR/f" "$DIR/m"
mkfifo "$DIR/waits" "$DIR/told"
cat >"$DIR/slow-mount" <<'SHELL'
#!/bin/bash
echo >"$DIR/told"
read -r _ <"$DIR/waits"
exec "$REAL" "$@"
SHELL
chmod 755 "$DIR/slow-mount"
DIR=$DIR REAL=$(find "$STAGE" -type f -name vine-mount) VINE_MOUNT=$DIR/slow-mount timeout 60 vine mount -q "$DIR/f" "$DIR/m2" & slow=$!
read -r _ <"$DIR/told"
befalls nothing
poll 30 logged "$DIR/f on $DIR/m is sealed"
expect 0 vine umount "$DIR/m"
echo >"$DIR/waits"
wait $slow || fail "it was told of a draft, and there is none"
cmp "$DIR/m2/big" "$DIR/f/big"
expect 0 vine umount "$DIR/m2"

# What changes after a mount or a seal was asked for is in the next, though the first is sealed still.
source_of g
expect 0 timeout 60 vine mount -q "$DIR/g" "$DIR/m" -- true
timeout 120 vine seal -q "$DIR/g" >"$DIR/g.first" & first=$!
echo newer >"$DIR/g/sub/newer"
expect 0 timeout 60 vine mount -q "$DIR/g" "$DIR/m" -- cat "$DIR/m/sub/newer"
contains "$DIR/out" newer
# However many mount it at once.
many=()
for i in {1..40}; do
	timeout 120 vine mount -q "$DIR/g" "$DIR/m" -- cat "$DIR/m/sub/newer" >"$DIR/many.$i" 2>&1 & many+=($!)
done
for i in {1..40}; do
	wait "${many[i - 1]}" || fail "mount $i of 40: $(cat "$DIR/many.$i")"
	[ "$(cat "$DIR/many.$i")" = newer ] || fail "mount $i of 40 has other bytes: $(cat "$DIR/many.$i")"
done
timeout 120 vine seal -q "$DIR/g" >"$DIR/g.second" & second=$!
befalls nothing
wait $first && wait $second || fail "a sealing failed"
expect 0 vine tree ls -R "$(cat "$DIR/g.second")"
contains "$DIR/out" newer
umount "$DIR"/g/0held?

# A source that does not tell its names again ends the mount in time: nobody answers it before.
start n2 'vinefs ready' vinefs --vined=none --state="$DIR/n2" --seal-threads=4 --read-deadline=2s
export VINE_NODE=$DIR/n2
mkdir -p "$DIR/e/sub/names"
mount --bind "$DIR/names" "$DIR/e/sub/names"
source_of e
expect 0 timeout 60 vine mount -q "$DIR/e" "$DIR/m"
cmp "$DIR/m/sub/1" "$DIR/e/sub/1"
befalls stall names
before=$(worker)
kill -KILL "$before"
poll 20 ended
contains "$DIR/n2.log" "the names of $DIR/e have not been read within 2 s"
expect 1 cat "$DIR/m/sub/3"
contains "$DIR/err" "not connected"
befalls nothing names
befalls nothing
expect 0 vine umount "$DIR/m"

umount "$DIR"/[bcdef]/0held? "$DIR/e/sub/names" "$DIR/shared" "$DIR/names"
wait "${mirrors[@]}"
