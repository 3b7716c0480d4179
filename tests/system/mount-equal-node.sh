# SPDX-License-Identifier: Apache-2.0
# once
# deadline: 180
# The model: random trees. Sealed twice, on one and on four threads, from the directory and from its tar, each has one id; from the installed daemon's mount, and
# exported, it equals its original in every attribute. A damaged index is never a wrong byte.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/tree-lib"

[ -e /dev/fuse ] || skip "no /dev/fuse"
n_rounds=1
n_entries=250
[ "${SOAK:-0}" = 0 ] || { n_rounds=60; n_entries=700; }
start one 'vinefs ready' vinefs --vined=none --state="$DIR/one" --seal-threads=1
start four 'vinefs ready' vinefs --vined=none --state="$DIR/four" --seal-threads=4
mkdir "$DIR/m"
trap 'umount -l "$DIR/m" 2>/dev/null || :; on_exit' EXIT
on() { VINE_NODE=$DIR/$1 vine "${@:2}"; }

equal() { # WHERE
	list_tree "$1" >"$DIR/got"
	cmp "$DIR/want" "$DIR/got" || fail "attributes in $1 differ: $(diff "$DIR/want" "$DIR/got" | head -n 4)"
	[ "$(packed_tree "$1")" = "$want" ] || fail "contents in $1 differ"
}
id_of() { # NODE [OPTION...] PATH
	expect 0 on "$1" seal -q "${@:2}"
	cat "$DIR/out"
}

for ((round = 0; round < n_rounds; round++)); do
	seed=${SEED:-$RANDOM}
	echo "seed $seed"
	src=$DIR/tree$round
	# Not before 1970: libarchive reads the fraction of such a time in a tar with the wrong sign.
	python3 "$SRC/tests/system/random-tree.py" "$src" "$seed" 0 $n_entries
	list_tree "$src" >"$DIR/want"
	want=$(packed_tree "$src")
	id=$(id_of one "$src")
	for each in "one $src" "one --refresh $src" "four $src" "four --refresh $src"; do
		[ "$(id_of $each)" = "$id" ] || fail "$each: another id"
	done
	tar --format=posix -C "$src" -cf "$src.tar" . 2>"$DIR/tar.err"
	[ "$(id_of four "$src.tar")" = "$id" ] || fail "its pax tar is another tree"
	gzip -c "$src.tar" >"$src.tar.gz"
	[ "$(id_of one "$src.tar.gz")" = "$id" ] || fail "its compressed tar is another tree"

	expect 0 on four mount -q "$id" "$DIR/m"
	equal "$DIR/m"
	expect 0 on four umount "$DIR/m"
	expect 0 on one tree export "$id" "$DIR/copy"
	equal "$DIR/copy"
	expect 0 on one tree check "$id" "$src"
	# What was evicted comes again.
	expect 0 on four cache evict "$id"
	expect 0 on four mount -q "$id" "$DIR/m"
	equal "$DIR/m"
	expect 0 on four umount "$DIR/m"

	# Any byte of the index: refused, or as it was.
	stop one
	python3 - "$DIR/one/cache/t/$id.vti" "$seed" <<'PYTHON'
import os, random, sys
r = random.Random(int(sys.argv[2]))
os.chmod(sys.argv[1], 0o600)
with open(sys.argv[1], "r+b") as f:
    n = os.path.getsize(sys.argv[1])
    at = r.randrange(n)
    f.seek(at)
    old = f.read(1)[0]
    f.seek(at)
    f.write(bytes([old ^ 1 << r.randrange(8)]))
PYTHON
	start one 'vinefs ready' vinefs --vined=none --state="$DIR/one" --seal-threads=1
	rm -rf "$DIR/copy"
	expect 125 on one tree export "$id" "$DIR/copy"
	rm -rf "$DIR/copy"
	[ "$(id_of one "$src")" = "$id" ] || fail "it is another tree after its index was damaged"
	expect 0 on one tree export "$id" "$DIR/copy"
	equal "$DIR/copy"
	rm -rf "$DIR/copy" "$src" "$src".*
done
