# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS 9: the source is rewritten between sealing and reading, while it is read and while it is sealed, files of equal size, with times kept or not. A reader gets
# what was sealed or an error that names path, old and new; no file is ever a mixture; who asks again sees the new one.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
seed=${SEED:-$RANDOM}
echo "seed $seed"
sec=2 rounds='new,renamed kept,in-place'
[ "${SOAK:-0}" = 0 ] || sec=120 rounds="$rounds new,in-place kept,renamed"
# A file is one version's number, over and over: a mixture has two.
cat >"$DIR/files.py" <<'PYTHON'
import errno, os, random, signal, struct, sys, time
what, root, *rest = sys.argv[1:]
N = 40
def size(i): return 8 * (100 + 7 * i if i % 2 else 20000 + 3000 * i)
def path(i): return "%s/d%d/file%d" % (root, i % 4, i)
def content(i, version): return struct.pack("<Q", version) * (size(i) // 8)
def put(i, version, in_place, is_kept):
    old = os.stat(path(i)) if os.path.exists(path(i)) else None
    name = path(i) if in_place else "%s/../new" % root
    # A writer that was killed may have left a part of something there.
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | (0 if in_place else os.O_TRUNC), 0o644)
    os.write(fd, content(i, version))
    os.close(fd)
    if is_kept and old: os.utime(name, ns=(0, old.st_mtime_ns))
    if not in_place: os.rename(name, path(i))
def version_of(data):
    words = {data[at:at + 8] for at in range(0, len(data), 8)}
    if len(words) != 1: return None
    return struct.unpack("<Q", words.pop())[0]
def read(i):
    try:
        with open(path(i), "rb") as f: return f.read()
    except OSError as e:
        if e.errno not in (errno.ESTALE, errno.EIO): raise
        return e.errno
if what == "make":
    for d in range(4): os.makedirs("%s/d%d" % (root, d))
    for i in range(N): put(i, int(rest[0]), True, False)
elif what == "put": # FIRST LAST VERSION kept|new in-place|renamed
    for i in range(int(rest[0]), int(rest[1])): put(i, int(rest[2]), rest[4] == "in-place", rest[3] == "kept")
elif what == "write": # SEED: until it is ended
    r = random.Random(int(rest[0]))
    while True: put(r.randrange(N), r.choice([1, 1, r.randrange(2, 9)]), r.random() < 0.5, r.random() < 0.5)
elif what == "check": # FIRST LAST VERSION...: every file is one of these versions, from its first byte to its last
    for i in range(int(rest[0]), int(rest[1])):
        data = read(i)
        if isinstance(data, int): sys.exit("%s: %s" % (path(i), os.strerror(data)))
        if len(data) != size(i): sys.exit("%s: %d bytes" % (path(i), len(data)))
        version = version_of(data)
        if version is None: sys.exit("%s: a mixture" % path(i))
        if str(version) not in rest[2:]: sys.exit("%s: version %d" % (path(i), version))
elif what == "stale": # FILE...: every one of them is refused so, whenever it is asked for
    for i in [int(x) for x in rest] * 3:
        if read(i) != errno.ESTALE: sys.exit("%s: it was read, or failed otherwise" % path(i))
elif what == "race": # one pass: what was sealed, or an error
    n = [0, 0]
    for i in random.sample(range(N), N):
        data = read(i)
        n[isinstance(data, int)] += 1
        if not isinstance(data, int) and data != content(i, 1): sys.exit("%s: not what was sealed: %s" % (path(i), version_of(data)))
    print(*n)
PYTHON
files() { python3 "$DIR/files.py" "$@"; }

start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
trap 'umount -l "$DIR"/m? 2>/dev/null || :; on_exit' EXIT
mkdir "$DIR/m1" "$DIR/m2" "$DIR/m3"
rm -r "$DIR/n1/hot" && : >"$DIR/n1/hot" # no hot set is kept, which would bring bytes ahead
forget() { # TREE: the node has none of its bytes
	vine cache evict "$1" >/dev/null
}

# Between sealing and reading.
v=10 # of its own in each round: equal contents are one in the cache
for each in $rounds; do
	times=${each%,*} how=${each#*,}
	src=$DIR/$times-$how v=$((v + 10)) w=$((v + 1)) x=$((v + 2))
	files make "$src" $v
	expect 0 vine seal -q "$src" --name one
	forget one
	expect 0 vine mount -q one "$DIR/m1"
	files check "$DIR/m1" 0 1 $v
	files put "$src" 0 40 $w $times $how
	# Large files are chunks of their own; the small ones of a pack come and go together.
	lines=$(wc -l <"$DIR/n1.log")
	files stale "$DIR/m1" 8 16 24
	for i in 8 16 24; do
		tail -n +$((lines + 1)) "$DIR/n1.log" | grep -F "$src/d0/file$i has changed since it was sealed: it was " >"$DIR/told" || fail "file$i was not named"
		[ "$(wc -l <"$DIR/told")" = 1 ] || fail "file$i was told more than once: $(cat "$DIR/told")"
		grep -q ' it was [0-9]* bytes of 20..-.*, it is [0-9]* bytes of 20..-' "$DIR/told" || fail "old and new are not named: $(cat "$DIR/told")"
	done
	expect 0 vine why "$DIR/m1/d0/file24"
	contains "$DIR/out" "file24 has changed since it was sealed"
	# The new one, for who asks again; what is here of the old one stays.
	expect 0 vine mount -q --sealed "$src" "$DIR/m2"
	files check "$DIR/m2" 0 40 $w
	files check "$DIR/m1" 0 1 $v
	files put "$src" 0 40 $x $times $how
	expect 0 vine mount -q --sealed --refresh "$src" "$DIR/m3"
	files check "$DIR/m3" 0 40 $x
	files check "$DIR/m2" 0 40 $w
	# What comes back is what was sealed again.
	files put "$src" 0 40 $v $times $how
	files check "$DIR/m1" 0 40 $v
	expect 0 vine umount "$DIR/m1" "$DIR/m2" "$DIR/m3"
done

# While it is read.
src=$DIR/reading
files make "$src" 1
expect 0 vine seal -q "$src" --name tree-read
python3 "$DIR/files.py" write "$src" "$seed" & writer=$!
end=$((SECONDS + sec)) n_right=0 n_wrong=0
is_shown() { [ $n_right -gt 0 ] && [ $n_wrong -gt 0 ]; }
# The writer may begin late.
while [ $SECONDS -lt $end ] || { ! is_shown && [ $SECONDS -lt $((end + 30)) ]; }; do
	forget tree-read
	expect 0 vine mount -q tree-read "$DIR/m1"
	files race "$DIR/m1" >"$DIR/race" || fail "wrong bytes"
	read -r right wrong <"$DIR/race"
	n_right=$((n_right + right)) n_wrong=$((n_wrong + wrong))
	expect 0 vine umount "$DIR/m1"
done
kill $writer && wait $writer || :
echo "while it was rewritten $n_right reads were right and $n_wrong refused"
is_shown || fail "nothing was shown"

# While it is sealed: refused by name, or every file one version.
src=$DIR/sealing
files make "$src" 1
python3 "$DIR/files.py" write "$src" "$seed" & writer=$!
end=$((SECONDS + sec)) n_sealed=0 n_refused=0
while [ $SECONDS -lt $end ]; do
	if vine seal -q "$src" --name tree-sealed >/dev/null 2>"$DIR/err"; then
		expect 0 vine tree export tree-sealed "$DIR/out$n_sealed"
		files check "$DIR/out$n_sealed" 0 40 1 2 3 4 5 6 7 8
		rm -rf "$DIR/out$n_sealed"
		n_sealed=$((n_sealed + 1))
	else
		grep -qF "$src/d" "$DIR/err" || fail "which file changed was not said: $(cat "$DIR/err")"
		n_refused=$((n_refused + 1))
	fi
done
kill $writer && wait $writer || :
echo "while it was rewritten it was sealed $n_sealed times and refused $n_refused times"
expect 0 vine seal -q "$src" --name tree-sealed
expect 0 vine tree export tree-sealed "$DIR/last"
diff -r "$src" "$DIR/last"
