# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# threaded
# `vine mount WHAT DIR -- COMMAND`: seen by the command and its children alone, large files bound from the cache, gone with the last of them; by root and by a user without any right.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
unshare -m true 2>/dev/null || skip "no namespaces"
node=$HOME/.local/state/vine/node
trap '[ ! -e "$node/lock" ] || tail -n 20 "$node/vinefs.log" >&2; on_exit' EXIT
end_node() {
	local pid
	pid=$(cat "$node/lock")
	kill -TERM "$pid"
	poll 15 gone "$pid"
}
worker() { pgrep -P "$(cat "$node/lock")" vinefs; }
none_left() { [ "$(vine mount --json | grep -c '"directory"')" = 0 ]; }

mkdir "$DIR/m"
cp -a "$SRC/common" "$DIR/a"
seq 1 300000 >"$DIR/a/big"
seq 300000 600000 >"$DIR/a/same"
cp "$DIR/a/same" "$DIR/a/same as"
cp "$(command -v bash)" "$DIR/a/program"
truncate -s 2M "$DIR/a/closed"
chmod 640 "$DIR/a/same as"
chmod 0 "$DIR/a/closed"
chmod 4755 "$DIR/a/program"
find "$DIR/a" -exec touch -h -d '2020-02-02 02:02:02.123456789' {} +
private() { vine mount -q --sealed "$@"; }
attributes() { (cd "$1" && find . ! -type d -printf '%P %#m %s %T@ %U %G %l\n' | sort); }
bound() { # prints how many files are bound below $DIR/m in the namespace of a command
	private "$@" "$DIR/a" "$DIR/m" -- grep -c " $DIR/m/" /proc/self/mountinfo || :
}
vine seal -q "$DIR/a" --name env >/dev/null

# Equal in every attribute, read-only; three of five large files are bound: of two modes of one content one is, and what its owner may not read is not.
attributes "$DIR/a" | sed 's/^program 04/program 0/' >"$DIR/a.list"
cat >"$DIR/look" <<'SHELL'
set -e
cd "$DIR"
attributes() { (cd "$1" && find . ! -type d -printf '%P %#m %s %T@ %U %G %l\n' | sort); }
attributes m | diff a.list -
diff -r -x closed a m
[ "$(m/program -c 'echo $((6 * 7))')" = 42 ]
for file in m/big m/log.c; do ! echo x 2>/dev/null >>"$file"; done
SHELL
expect 0 private "$DIR/a" "$DIR/m" -- env DIR="$DIR" bash "$DIR/look"
[ "$(bound)" = 3 ] || fail "$(bound) files are bound"
[ "$(bound --no-bind)" = 0 ] || fail "files are bound though it was forbidden"
[ "$(bound --no-warm)" = 3 ] || fail "without warm names less is bound"
! grep -q "$DIR/m" /proc/self/mountinfo || fail "it is mounted for all"
[ -z "$(ls "$DIR/m")" ] || fail "it is seen by all"
poll 10 none_left

# The exit status and signals are the command's; it starts as it would have without.
expect 7 private env "$DIR/m" -- sh -c 'exit 7'
expect 127 private env "$DIR/m" -- "$DIR/m/nothing"
expect 126 private env "$DIR/m" -- "$DIR/m/log.c"
contains "$DIR/err" "Permission denied"
expect 141 private env "$DIR/m" -- sh -c 'kill -PIPE $$'
expect 125 private env "$DIR/none" -- true
contains "$DIR/err" "mkdir -p"
expect 125 private env "$DIR/m" --
expect 125 private env -- true
contains "$DIR/err" "which directory"
expect 0 private -o noatime env "$DIR/m" -- test "$(ulimit -n)" = "$(ulimit -n)"
(ulimit -S -n 300 && expect 0 private env "$DIR/m" -- sh -c 'test $(ulimit -n) = 300')
(cd "$DIR/m" && expect 0 private env . -- test -f log.c)
vine mount -q --sealed env "$DIR/m" -- sh -c 'echo there >"$0"; exec tail -f /dev/null' "$DIR/there" & command=$!
poll 10 test -s "$DIR/there"
kill -TERM $command
status=0
wait $command || status=$?
[ $status = 143 ] || fail "it ended with $status by SIGTERM"
poll 10 none_left

# What the command leaves behind keeps the mount, over the death of vinefs; nothing that is bound can be evicted till then.
mkfifo "$DIR/go"
cat >"$DIR/later" <<'SHELL'
exec 3<"$DIR/m/big" 4<"$DIR/m/log.c"
{ read -r _ <"$DIR/go"; cmp - "$DIR/a/big" <&3; cmp - "$DIR/a/log.c" <&4; diff -r -x closed "$DIR/a" "$DIR/m" && echo equal; } >"$DIR/behind" 2>&1 &
SHELL
expect 0 private env "$DIR/m" -- env DIR="$DIR" bash "$DIR/later"
expect 125 vine cache evict env
expect 0 vine cache show env
contains "$DIR/out" "its large files are bound"
before=$(worker)
kill -KILL "$before"
again() { [ -n "$(worker)" ] && [ "$(worker)" != "$before" ] && vine mount | grep -q "$DIR/m"; }
poll 20 again
expect 0 vine why "$DIR/m/big"
echo go >"$DIR/go"
poll 20 test -s "$DIR/behind"
[ "$(cat "$DIR/behind")" = equal ] || fail "what was left behind saw: $(cat "$DIR/behind")"
poll 10 none_left
evicted() { vine cache evict env; }
poll 10 evicted

# What is not there is served, and bound the next time.
expect 0 private env "$DIR/m" -- cmp "$DIR/a/big" "$DIR/m/big"
[ "$(bound)" -ge 1 ] || fail "what was read is not bound"
vine mount -q --sealed "$DIR/a" "$DIR/m"
[ "$(grep -c "$DIR/m" /proc/self/mountinfo)" = 1 ] || fail "files are bound in everybody's namespace"
expect 0 vine umount "$DIR/m"

# After a reboot what is bound is verified first, and what is damaged is not bound: one bit of a file is another.
expect 0 private env "$DIR/m" -- diff -r -x closed "$DIR/a" "$DIR/m"
[ "$(bound)" = 3 ] || fail "not all that was read is bound"
end_node
reboot() {
	python3 - "$node/cache" "$DIR/a/same" <<'PYTHON'
import glob, os, sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/catalog.db")
assert db.execute("UPDATE meta SET value = 'another' WHERE name = 'boot'").rowcount == 1
db.commit()
path, = [p for p in glob.glob(sys.argv[1] + "/b/*/*") if os.path.getsize(p) == os.path.getsize(sys.argv[2])]
os.chmod(path, 0o600)
with open(path, "r+b") as file:
    file.seek(1000)
    byte = file.read(1)
    file.seek(1000)
    file.write(bytes([byte[0] ^ 1]))
PYTHON
}
reboot
expect 0 private env "$DIR/m" -- sh -c 'diff -r -x closed "$0/a" "$0/m" && grep -c " $0/m/" /proc/self/mountinfo' "$DIR"
[ "$(cat "$DIR/out")" -ge 2 ] || fail "$(cat "$DIR/out") files are bound after a reboot" # the third if it was fetched again by then
contains "$node/vinefs.log" "is damaged"
end_node

# The same without any right: in a user namespace, as oneself.
[ "$(id -u)" = 0 ] || exit 0
as() { setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$DIR/user" "$@"; }
as vine version >/dev/null 2>&1 || skip "another user cannot run this build"
as unshare -Um true 2>/dev/null || skip "no user namespaces"
mkdir -p "$DIR/user/m"
cp -a "$DIR/a" "$DIR/user/a"
chmod 755 "$DIR"
chown -R 65534:65534 "$DIR/user"
rm -f "$DIR/user/a/closed"
chmod u-s "$DIR/user/a/program"
mkdir "$DIR/dev"
mount -t tmpfs -o dev,mode=755 tmpfs "$DIR/dev"
trap 'for at in /dev/fuse "$DIR/dev"; do umount -l "$at" 2>/dev/null || :; done; on_exit' EXIT
mknod -m 600 "$DIR/dev/fuse" c 10 229
mount --bind "$DIR/dev/fuse" /dev/fuse
node=$DIR/user/.local/state/vine/node
expect 125 as vine mount -q --sealed "$DIR/user/a" "$DIR/user/m" -- true
contains "$DIR/err" "/dev/fuse: Permission denied"
chmod 666 "$DIR/dev/fuse"
cat >"$DIR/user/look" <<'SHELL'
set -e
diff -r user/a user/m
[ "$(id -u):$(id -g)" = 65534:65534 ]
[ "$(stat -c %u:%g user/m/big)" = 65534:65534 ]
[ "$(grep -c " $DIR/user/m/" /proc/self/mountinfo)" = 3 ]
[ "$(user/m/program -c "sed -n 's/^CapEff:.//p' /proc/self/status")" = 0000000000000000 ]
! umount user/m/big 2>/dev/null
SHELL
expect 0 as vine mount -q --sealed "$DIR/user/a" "$DIR/user/m" -- env DIR="$DIR" bash -x "$DIR/user/look"
end_node
