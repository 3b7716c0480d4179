# SPDX-License-Identifier: Apache-2.0
# A user without any right mounts by fusermount3, sees his tree, and nobody else's cache or sockets; others do not see his mount.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
[ -u "$(command -v fusermount3)" ] || skip "fusermount3 is not setuid root"
[ "$(id -u)" = 0 ] || skip "not root"
as() { # UID CMD...
	local uid=$1
	shift
	setpriv --reuid="$uid" --regid="$uid" --clear-groups env HOME="$DIR/$uid" XDG_STATE_HOME="$DIR/$uid/state" "$@"
}
as 65534 vine version >/dev/null 2>&1 || skip "another user cannot run this build"

# Where /dev/fuse is root's alone, one of the test's lies over it; the namespace is the test's too.
mkdir "$DIR/dev"
mount -t tmpfs -o dev,mode=755 tmpfs "$DIR/dev"
mknod -m 666 "$DIR/dev/fuse" c 10 229
mount --bind "$DIR/dev/fuse" /dev/fuse
trap 'for at in "$DIR/65534/m" /dev/fuse "$DIR/dev"; do umount -l "$at" 2>/dev/null || :; done; on_exit' EXIT

chmod 755 "$DIR"
for uid in 65534 65533; do
	mkdir -p "$DIR/$uid/m"
	cp -r "$SRC/common" "$DIR/$uid/a"
	chown -R "$uid" "$DIR/$uid"
done
expect 0 as 65534 vine mount "$DIR/65534/a" "$DIR/65534/m"
expect 0 as 65534 diff -r "$DIR/65534/a" "$DIR/65534/m"
expect 2 as 65533 ls "$DIR/65534/m"
expect 2 as 65533 ls "$DIR/65534/state/vine/node/cache"
expect 125 as 65533 env VINE_NODE="$DIR/65534/state/vine/node" vine cache ls
expect 125 as 65534 vine mount -o allow_other "$DIR/65534/a" "$DIR/65534/a"
expect 0 as 65534 vine umount "$DIR/65534/m"
pid=$(cat "$DIR/65534/state/vine/node/lock")
kill -TERM "$pid"
poll 15 gone "$pid"
