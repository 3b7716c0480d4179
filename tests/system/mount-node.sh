# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# threaded
# What the installed daemon makes of mounts: a single file on a file, what counts as hot, several private mounts on one directory and whose is meant, what lies on a
# mount that is to go, and the most that are served.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
unshare -m true 2>/dev/null || skip "no namespaces"
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
trap 'for at in "$DIR/at" "$DIR"/m*; do umount -l "$at" 2>/dev/null || :; done; on_exit' EXIT
worker() { pgrep -P "$(cat "$VINE_NODE/lock")" vinefs; }
n_mounts() { vine mount --json | grep -c '"directory"' || :; }
none_left() { [ "$(n_mounts)" = 0 ]; }
of_mount() { # DIRECTORY KEY
	vine mount --json | python3 -c 'import json, sys
print(*[m[sys.argv[2]] for m in json.load(sys.stdin) if m["directory"] == sys.argv[1]])' "$@"
}
mkdir "$DIR/m" "$DIR/m2" "$DIR/a" "$DIR/b"

# A single file on a file, through the death of vinefs; the wrong kind of place is refused with the cure.
head -c 3000000 /dev/urandom >"$DIR/one.dat"
chmod 640 "$DIR/one.dat"
touch -d '2001-02-03 04:05:06.789' "$DIR/one.dat"
echo under >"$DIR/at"
is_the_file() {
	cmp "$DIR/one.dat" "$1"
	[ "$(stat -c '%a %s %y %F' "$1")" = "$(stat -c '%a %s %y %F' "$DIR/one.dat")" ]
}
expect 0 vine mount -q "$DIR/one.dat" "$DIR/at"
is_the_file "$DIR/at"
[ "$(of_mount "$DIR/at" read_size)" = 3000000 ] || fail "$(of_mount "$DIR/at" read_size) bytes were read"
before=$(worker)
kill -KILL "$before"
again() { [ -n "$(worker)" ] && [ "$(worker)" != "$before" ] && [ "$(n_mounts)" = 1 ]; }
poll 20 again
dd if="$DIR/at" iflag=nocache of=/dev/null count=0 status=none
is_the_file "$DIR/at"
expect 0 vine why "$DIR/at"
contains "$DIR/out" "from the cache"
expect 0 vine umount "$DIR/at"
[ "$(cat "$DIR/at")" = under ] || fail "what lay there has changed"
export -f is_the_file
expect 0 vine mount -q "$DIR/one.dat" "$DIR/at" -- bash -c 'is_the_file "$DIR/at" && grep -c " $DIR/at " /proc/self/mountinfo'
[ "$(cat "$DIR/out")" = 2 ] || fail "a large file is not bound"
expect 125 vine mount -q "$DIR/one.dat" "$DIR/m"
contains "$DIR/err" "it is a single file, and $DIR/m is a directory: mount it on a file"
seq 1 1000 >"$DIR/a/small"
expect 125 vine mount -q "$DIR/a" "$DIR/at"
contains "$DIR/err" "it is a directory or an archive, and $DIR/at is a file: mount it on a directory"
mkfifo "$DIR/fifo"
expect 125 vine mount -q "$DIR/fifo" "$DIR/m"
contains "$DIR/err" "neither a directory nor a file"
poll 10 none_left
[ "$(cat "$DIR/at")" = under ] || fail "a refused mount was left"

# Hot is what a program reads: neither what was listed nor what the warming itself reads; and what came later is added.
seq 1 300000 >"$DIR/a/big"
for i in $(seq 1 40); do mkdir "$DIR/a/d$i" && seq 1 "$i" >"$DIR/a/d$i/file"; done
expect 0 vine seal -q "$DIR/a" --name env
id=$(cat "$DIR/out")
n_hot() { stat -c %s "$DIR/n1/hot/$id" 2>/dev/null || echo 0; }
hot_is() { [ "$(n_hot)" = $(($1 * 4)) ]; }
mounted() { expect 0 vine mount -q env "$DIR/m"; }
unmounted() { expect 0 vine umount "$DIR/m" && poll 10 none_left; }
mounted
unmounted
mounted
cat "$DIR/m/d7/file" "$DIR/m/d3/file" >/dev/null
unmounted
poll 10 hot_is 2
mounted
find "$DIR/m" >/dev/null
unmounted
mounted
cat "$DIR/m/d9/file" "$DIR/m/d7/file" >/dev/null
unmounted
poll 10 hot_is 3
[ "$(cat "$DIR/a/d7/file" "$DIR/a/d3/file" "$DIR/a/d9/file")" = "$(python3 - "$DIR/n1/hot/$id" "$DIR/a" <<'PYTHON'
import os, struct, sys
# Breadth first, each directory's names by their bytes: the root, its names, then those of its directories.
names, path = sorted(os.listdir(sys.argv[2])), {}
at = 1 + len(names)
for i, name in enumerate(names):
    if os.path.isdir(sys.argv[2] + "/" + name):
        path[at] = name + "/file"
        at += 1
for node, in struct.iter_unpack("<I", open(sys.argv[1], "rb").read()):
    sys.stdout.write(open(sys.argv[2] + "/" + path[node]).read())
PYTHON
)" ] || fail "other files are hot"

# Several private mounts on one directory: each is asked about its own, a bound file too; the newest is meant where that cannot be told.
echo other >"$DIR/b/only-b"
seq 300000 600000 >"$DIR/b/big"
expect 0 vine seal -q "$DIR/b" --name other
expect 0 vine mount -q env "$DIR/m" -- true # its large file is here from now on
mkfifo "$DIR/ready1" "$DIR/ready2" "$DIR/go1" "$DIR/go2"
export DIR
vine mount -q env "$DIR/m" -- bash -c 'cat "$DIR/m/big" >/dev/null; echo >"$DIR/ready1"; read -r _ <"$DIR/go1"; vine why "$DIR/m/small"; vine why "$DIR/m/big"' >"$DIR/first" 2>&1 & first=$!
read -r _ <"$DIR/ready1"
vine mount -q other "$DIR/m" -- bash -c 'echo >"$DIR/ready2"; read -r _ <"$DIR/go2"; vine why "$DIR/m/only-b"' >"$DIR/second" 2>&1 & second=$!
read -r _ <"$DIR/ready2"
[ "$(of_mount "$DIR/m" private)" = "True True" ] || fail "they are not said to be private: $(vine mount --json)"
expect 0 vine mount
[ "$(grep -c ' private ' "$DIR/out")" = 2 ] || fail "the list does not say which are private: $(cat "$DIR/out")"
expect 0 vine why "$DIR/m/only-b"
contains "$DIR/out" "of 2 mounts on $DIR/m this is other, mounted "
echo >"$DIR/go1"
wait $first || fail "the first was not told of its own: $(cat "$DIR/first")"
[ "$(grep -c "of 2 mounts on $DIR/m this is env, " "$DIR/first")" = 2 ] || fail "which mount was not said: $(cat "$DIR/first")"
one_left() { [ "$(n_mounts)" = 1 ]; }
poll 10 one_left
# What is mounted there for all is not taken for the private one, and goes with the node.
expect 0 vine mount -q env "$DIR/m"
expect 0 vine why "$DIR/m/small"
contains "$DIR/out" "of 2 mounts on $DIR/m this is env, "
# One above the other: what is seen is meant.
expect 0 vine mount -q other "$DIR/m"
expect 0 vine why "$DIR/m/only-b"
contains "$DIR/out" "this is other"
expect 0 vine umount "$DIR/m"
echo >"$DIR/go2"
wait $second || fail "the second was not told of its own: $(cat "$DIR/second")"
expect 0 vine umount "$DIR/m"
poll 10 none_left

# What lies on a mount: our own goes with it, if it is not in use; else it is named.
[ "$(id -u)" = 0 ] && may=yes || may=no
cat >"$DIR/inside" <<'SHELL'
set -e
[ "$(grep -c " $DIR/m/big " /proc/self/mountinfo)" = 1 ]
exec 3<"$DIR/m/big"
if vine umount "$DIR/m" >"$DIR/said" 2>&1; then exit 3; fi
grep -qF "$DIR/m/big is mounted on it, from the cache, and in use" "$DIR/said"
exec 3<&-
vine umount "$DIR/m"
[ -z "$(ls "$DIR/m")" ]
SHELL
if [ $may = yes ]; then
	expect 0 vine mount -q env "$DIR/m" -- bash -x "$DIR/inside"
	expect 0 vine mount -q env "$DIR/m"
	mount --bind "$DIR/b" "$DIR/m/d1"
	expect 1 vine umount "$DIR/m"
	contains "$DIR/out" "$DIR/m/d1 is mounted on it"
	umount "$DIR/m/d1"
	expect 0 vine umount "$DIR/m"
fi
poll 10 none_left

# The node's end ends its own mounts and no other's: a private one lies where somebody else's is.
start n2 'vinefs ready' vinefs --vined=none --state="$DIR/n2"
VINE_NODE=$DIR/n2 vine mount -q "$DIR/b" "$DIR/m2" -- bash -c 'echo >"$DIR/ready2"; read -r _ <"$DIR/go1"' & first=$!
read -r _ <"$DIR/ready2"
expect 0 vine mount -q env "$DIR/m2"
stop n2
cmp "$DIR/m2/small" "$DIR/a/small"
echo >"$DIR/go1"
wait $first || :
expect 0 vine umount "$DIR/m2"
stop n1

# No more than there are descriptors for.
(
	ulimit -n 264
	start n3 'vinefs ready' vinefs --vined=none --state="$DIR/n3"
	export VINE_NODE=$DIR/n3
	expect 0 vine mount -q "$DIR/b" "$DIR/m"
	expect 0 vine mount -q "$DIR/b" "$DIR/m2"
	expect 125 vine mount -q "$DIR/one.dat" "$DIR/at"
	contains "$DIR/err" "this node serves 2 mounts, as many as it can: unmount some, or raise the limit of open files (ulimit -n)"
	expect 0 vine umount "$DIR/m"
	poll 10 one_left
	expect 0 vine mount -q "$DIR/one.dat" "$DIR/at"
	is_the_file "$DIR/at"
	stop n3
	[ "$(cat "$DIR/at")" = under ] && [ -z "$(ls "$DIR/m2")" ] || fail "the node's end left a mount"
)
