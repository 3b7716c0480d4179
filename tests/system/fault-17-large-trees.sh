# SPDX-License-Identifier: Apache-2.0
# once
# deadline: 240
# FAULTS 17, trees: very many files, very many names in one directory, a very large file of holes, very long paths: they work, or are refused with the limit named.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
n_names=200000
[ "${SOAK:-0}" = 0 ] || n_names=1000000
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
mkdir "$DIR/m"
trap 'umount -l "$DIR/m" 2>/dev/null || :; on_exit' EXIT
worker() { pgrep -P "$(cat "$DIR/n1/lock")" vinefs; }
said() { # WHAT: with the time since the last one, and the most memory that vinefs ever had
	local now=${EPOCHREALTIME/[.,]/}
	echo "$1: $(((now - last) / 1000)) ms, peak of vinefs $(($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(worker)/status") / 1024)) MiB"
	last=${EPOCHREALTIME/[.,]/}
}
last=${EPOCHREALTIME/[.,]/}

# 100,000 files in 1,000 directories. In memory (/tmp): making them on a disk takes longer than all the rest.
python3 - /tmp/many <<'PYTHON'
import os, sys
for d in range(1000):
    at = "%s/%02d/%02d" % (sys.argv[1], d // 100, d % 100)
    os.makedirs(at)
    for i in range(100):
        fd = os.open("%s/file-%d" % (at, i), os.O_CREAT | os.O_WRONLY)
        if i % 10 == 9: os.write(fd, b"%d %d\n" % (d, i))
        os.close(fd)
PYTHON
said "made 100,000 files"
expect 0 vine seal -q /tmp/many --name t-many
said "sealed them"
expect 0 vine mount -q t-many "$DIR/m"
[ "$(find "$DIR/m" -type f | wc -l)" = 100000 ] || fail "files are missing"
said "mounted and listed them"
diff -r /tmp/many/03 "$DIR/m/03"
[ "$(cat "$DIR/m/09/99/file-99")" = '999 99' ] || fail "the last file"
expect 0 vine umount "$DIR/m"
rm -rf /tmp/many
said "compared 10,000"

# Very many names in one directory.
python3 - /tmp/wide $n_names <<'PYTHON'
import os, sys
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])): # links cost no inode
    if i % 10000 == 0: os.close(os.open("n%d" % i, os.O_CREAT | os.O_WRONLY))
    else: os.link("n%d" % (i // 10000 * 10000), "n%d" % i)
PYTHON
said "made a directory of $n_names"
expect 0 vine seal -q /tmp/wide --name t-wide
said "sealed it"
expect 0 vine mount -q t-wide "$DIR/m"
python3 - "$DIR/m" $n_names <<'PYTHON'
import os, sys
at, n = sys.argv[1], int(sys.argv[2])
names = os.listdir(at)
assert len(names) == n and set(names) == {"n%d" % i for i in range(n)}, len(names)
for i in range(0, n, 997): assert os.stat("%s/n%d" % (at, i)).st_size == 0
try: os.stat("%s/n%d" % (at, n)); sys.exit("one too many")
except FileNotFoundError: pass
PYTHON
expect 0 vine umount "$DIR/m"
said "mounted and listed it"
expect 0 vine tree ls t-wide
[ "$(wc -l <"$DIR/out")" -ge $n_names ] || fail "vine tree ls leaves names out"
rm -rf /tmp/wide
said "listed it by vine tree ls"

# A file of holes: what is not there is neither read nor kept.
mkdir "$DIR/sparse"
python3 - "$DIR/sparse/file" <<'PYTHON'
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.ftruncate(fd, 100 << 30)
for at in (0, 12345678901, (50 << 30) - 3, (100 << 30) - 6): os.pwrite(fd, b"island", at)
PYTHON
last=${EPOCHREALTIME/[.,]/}
expect 0 vine seal -q "$DIR/sparse" --name t-sparse
took=$(((${EPOCHREALTIME/[.,]/} - last) / 1000))
said "sealed 100 GiB of holes"
[ $took -lt $((30000 * ${DEADLINE_FACTOR:-1})) ] || fail "holes are read: $took ms"
expect 0 vine mount -q t-sparse "$DIR/m"
[ "$(stat -c %s "$DIR/m/file")" = $((100 << 30)) ] || fail "its size: $(stat -c %s "$DIR/m/file")"
python3 - "$DIR/m/file" "$DIR/sparse/file" <<'PYTHON'
import os, random, sys
a, b = (os.open(x, os.O_RDONLY) for x in sys.argv[1:])
places = [0, 12345678900, (50 << 30) - 5, (100 << 30) - 10] + [random.randrange(100 << 30) for i in range(50)]
for at in places:
    x, y = os.pread(a, 70000, at), os.pread(b, 70000, at)
    assert x == y, "at %d" % at
assert os.pread(a, 6, 12345678901) == b"island" and os.pread(a, 100, (100 << 30) - 6) == b"island"
PYTHON
kept=$(du -s -B1 "$DIR/n1/cache/b" "$DIR/n1/cache/p" | awk '{n += $1} END {print n}')
[ "$kept" -lt $((400 << 20)) ] || fail "the cache takes $kept bytes for it"
expect 0 vine cache du --json
python3 - "$DIR/out" <<'PYTHON' || fail "vine cache du counts holes: $(cat "$DIR/out")"
import json, sys
assert json.load(open(sys.argv[1]))["size"] < 400 << 20
PYTHON
expect 0 vine tree check t-sparse "$DIR/sparse"
expect 0 vine umount "$DIR/m"
said "read it in places"

# Long paths and names, and names of any bytes.
cat >"$DIR/deep.py" <<'PYTHON'
import os, sys
what, root, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(root)
left = total - 5
while left > 0:
    n = min(255, left - 1) if left > 1 else left
    name = b"d" * n
    if what == "make": os.mkdir(name)
    os.chdir(name)
    left -= n + 1
if what == "make": open("/".join(["leaf"]), "w").write("deep\n")
assert open("leaf").read() == "deep\n"
PYTHON
mkdir "$DIR/long"
python3 "$DIR/deep.py" make "$DIR/long" 3900
python3 - "$DIR/long" <<'PYTHON'
import os, sys
at = os.fsencode(sys.argv[1])
for name in (b"\xff\xfe" * 127 + b"x", b"new\nline", b" ", b"-rf", b"\x01", "ü".encode() * 127, b"%s%n"):
    open(at + b"/" + name, "wb").write(name)
PYTHON
expect 0 vine seal -q "$DIR/long" --name t-long
expect 0 vine mount -q t-long "$DIR/m"
python3 "$DIR/deep.py" look "$DIR/m" 3900
cmp <(cd "$DIR/long" && find . -printf '%P %m %T@\0' | sort -z) <(cd "$DIR/m" && find . -printf '%P %m %T@\0' | sort -z) || fail "names differ"
(cd "$DIR/long" && cat ./*) 2>/dev/null | cmp - <(cd "$DIR/m" && cat ./* 2>/dev/null) || fail "contents differ"
expect 0 vine umount "$DIR/m"
mkdir "$DIR/longer"
python3 "$DIR/deep.py" make "$DIR/longer" 6000
expect 125 vine seal -q "$DIR/longer"
contains "$DIR/err" "a path of more than 4095 bytes"
rm -rf "$DIR/longer"
expect 0 vine cache ls # it goes on
said "long names"
