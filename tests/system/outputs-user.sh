# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# What tasks leave, all of it once more by an ordinary user.
. "$SRC/tests/system/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root to become another user"
command -v setpriv >"$DIR/found" || skip "no setpriv"
# Where /dev/fuse is 0600, a node that all may use lies over it in this namespace.
mknod "$DIR/fuse" c 10 229 && chmod 666 "$DIR/fuse" && mount --bind "$DIR/fuse" /dev/fuse || skip "cannot make a device node here"
trap 'umount -l /dev/fuse || :; on_exit' EXIT
(exec 3<>/dev/fuse) 2>"$DIR/err" || skip "device nodes do not work here"
user() { setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$1" DIR="$1" "${@:2}"; }
chmod 755 "$DIR"
user "$DIR" unshare --user --map-root-user --mount true 2>"$DIR/err" || skip "no user namespaces for an ordinary user"
user "$DIR" test -x "$(command -v vinefs)" || skip "another user cannot reach $(command -v vinefs)"

for each in beside kept; do
	mkdir "$DIR/$each"
	chown 1000:1000 "$DIR/$each"
	user "$DIR/$each" bash "$SRC/tests/system/outputs-$each.sh" || fail "outputs-$each"
done
