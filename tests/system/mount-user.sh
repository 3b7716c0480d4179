# SPDX-License-Identifier: Apache-2.0
# An ordinary user mounts: in a user namespace by mount(2), and by fusermount3; others see nothing.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

[ "$(id -u)" = 0 ] || skip "needs root to become two users"
command -v setpriv >/dev/null || skip "no setpriv"
# Where /dev/fuse is 0600, a node that all may use lies over it in this namespace.
mknod "$DIR/fuse" c 10 229 && chmod 666 "$DIR/fuse" && mount --bind "$DIR/fuse" /dev/fuse || skip "cannot make a device node here"
trap 'umount -l /dev/fuse || :; on_exit' EXIT
(exec 3<>/dev/fuse) 2>/dev/null || skip "device nodes do not work here"

mkdir -p "$DIR/src/secret" "$DIR/home1"
echo hello >"$DIR/src/file"
echo own >"$DIR/src/secret/own"
chmod 700 "$DIR/src/secret"
chmod 755 "$DIR" "$DIR/src"
chown -R 1000:1000 "$DIR/src" "$DIR/m"
user() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
user 1000 test -x "$(command -v mount-serve)" || skip "another user cannot reach $(command -v mount-serve)"

cat >"$DIR/inside.sh" <<'SHELL'
set -e
mount-serve --single --control="$1/control" "$1/m" "$1/src" >"$1/inside.out" 2>"$1/inside.log" &
pid=$!
until grep -q ready "$1/inside.out"; do kill -0 $pid || { cat "$1/inside.log" >&2; exit 1; }; done
cat "$1/m/file" "$1/m/secret/own"
stat -c %u:%g "$1/m/file"
! touch "$1/m/x" 2>/dev/null
kill -TERM $pid
wait $pid
SHELL
mkfifo "$DIR/control"
chown 1000 "$DIR/control"
touch "$DIR/inside.out" "$DIR/inside.log"
chmod 666 "$DIR/inside.out" "$DIR/inside.log"
if user 1000 unshare --user --map-root-user --mount true 2>/dev/null; then
	expect 0 user 1000 unshare --user --map-root-user --mount bash "$DIR/inside.sh" "$DIR"
	[ "$(cat "$DIR/out")" = $'hello\nown\n0:0' ] || fail "in a user namespace: $(cat "$DIR/out")"
else
	echo "no user namespaces here"
fi

if ! command -v fusermount3 >/dev/null || ! [ -u "$(command -v fusermount3)" ]; then
	echo "no fusermount3 here"
	exit 0
fi
touch "$DIR/serve.out" "$DIR/serve.log"
SERVE_AS='setpriv --reuid 1000 --regid 1000 --clear-groups'
rm "$DIR/control"
serve_as_user() {
	mkfifo "$DIR/control"
	chown 1000 "$DIR/control"
	start serve 'mount-serve ready' $SERVE_AS mount-serve --helper --control="$DIR/control" "$DIR/m" a="$DIR/src"
}
serve_as_user
grep -q "^test $DIR/m fuse.vine ro,nosuid,nodev" /proc/mounts || fail "mounted otherwise: $(grep "$DIR/m" /proc/mounts)"
[ "$(user 1000 cat "$DIR/m/a/file")" = hello ] || fail "its user cannot read it"
expect 2 user 2000 ls "$DIR/m"
expect 2 ls "$DIR/m"
contains "$DIR/err" 'Permission denied'
(cd / && exec $SERVE_AS bash -c "cd '$DIR/m/a' && exec tail -f /dev/null") & inside=$!
works_there() { [ "$(user 1000 readlink "/proc/$inside/cwd")" = "$DIR/m/a" ]; }
poll 5 works_there
refused unmount >"$DIR/holders"
contains "$DIR/holders" "$inside tail: works in it"
ask unmount force >/dev/null
! grep -q "$DIR/m" /proc/mounts || fail "it is still mounted"
kill -KILL $inside
wait $inside 2>/dev/null || :
