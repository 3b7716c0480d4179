# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 6: a cached chunk is damaged, whole files in b/ and parts in p/: the scrub finds it, or the first use after a reboot; it is put
# aside and fetched again. From then on right bytes, or EIO where there is no source.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

damaged() { vine cache ls --json | json 'j["damaged"]'; }
has_found() { [ "$(damaged)" -ge "$1" ]; }
large() { find "$DISK/cache/b" -type f -size +3M | sort; } # of 4 MiB: a file of its own each
four() { # DIR
	make_tree "$1" 0 2
	for i in 1 2 3; do head -c 4194304 /dev/urandom >"$1/large$i"; done
	find "$1" -exec touch -hd '2001-02-03 04:05:06' {} +
}

four "$DIR/a"
four "$DIR/b"
node --scrub-rate=1G
expect 0 vine seal -q "$DIR/a" --name a
expect 0 vine seal -q "$DIR/b" --name b
a=$(vine cache show a --json | json 'j["trees"][0]["tree"]') # by its id a tree is never read past the cache, as a draft is
b=$(vine cache show b --json | json 'j["trees"][0]["tree"]')
expect 0 vine cache evict a
mkdir "$DIR/m/a"
expect 0 vine mount -q "$a" "$DIR/m/a"
head -c 300000 "$DIR/m/a/large1" | cmp - <(head -c 300000 "$DIR/a/large1")
part=
for map in "$DISK"/cache/p/*.map; do # whose first chunk is there
	[ "$(od -An -tu1 -j64 -N1 "$map" | tr -d ' ')" != 1 ] || part=${map%.map}.part
done
whole=$(large | head -n 1)
[ -n "$part" ] && [ -n "$whole" ] || fail "no part, or nothing whole"

# ---- found by the scrub
flip "$part" 5000
flip "$whole" 100000 4000000 # at once: with the first one it may be found, and moved
poll 30 has_found 2
[ ! -e "$whole" ] || fail "it is still in b/"
[ -n "$(find "$DISK/cache/q" -name "${whole##*/}*")" ] || fail "it is not in q/"
# A page that the mount had read before may be remembered by the kernel: right ones.
diff -r "$DIR/a" "$DIR/m/a"
read_all "$b" "$DIR/b"
expect 0 vine umount "$DIR/m/a"
read_all "$a" "$DIR/a"
expect 0 vine cache verify
contains "$DIR/out" "all is well"

# ---- found at the first use after a reboot, without a scrub
stop n1
flip "$(large | tail -n 1)" 2000000
pack=$(find "$DISK/cache/b" -type f -size -3M | head -n 1)
flip "$pack" 1234
truncate -s 1000 "$(large | head -n 1)"
reboot
node --scrub-rate=0
[ "$(vine cache ls --json | json 'j["unverified"]')" -gt 3 ] || fail "after a reboot all is taken for good"
read_all "$a" "$DIR/a"
read_all "$b" "$DIR/b"
[ "$(damaged)" = 2 ] || fail "$(damaged) were found damaged, of 2"
[ "$(vine cache ls --json | json 'j["unverified"]')" = 0 ] || fail "read, and not verified"
expect 0 vine cache verify
contains "$DIR/out" "all is well"

# ---- with no source: EIO for what is damaged, and for nothing else; when the source is back, right bytes
stop n1
name=$(for each in "$DIR"/b/large*; do
	for blob in $(large); do cmp -s "$blob" "$each" && echo "$blob ${each##*/}"; done
done | tail -n 1)
flip "${name% *}" 4194303
reboot
node --scrub-rate=0
mv "$DIR/b" "$DIR/b-away"
mkdir "$DIR/m/b"
expect 0 vine mount -q "$b" "$DIR/m/b"
expect 1 cat "$DIR/m/b/${name#* }"
contains "$DIR/err" "Stale" # its source is gone
n=$(stat -c %s "$DIR/out")
cmp -n "$n" "$DIR/out" "$DIR/b-away/${name#* }"
expect 2 diff -r "$DIR/b-away" "$DIR/m/b"
[ ! -s "$DIR/out" ] || fail "a wrong byte: $(cat "$DIR/out")"
[ "$(grep -c . "$DIR/err")" = 1 ] || fail "more than one file: $(cat "$DIR/err")"
expect 0 vine why "$DIR/m/b/${name#* }"
contains "$DIR/out" "missing: "
mv "$DIR/b-away" "$DIR/b"
diff -r "$DIR/b" "$DIR/m/b"
expect 0 vine umount "$DIR/m/b"
