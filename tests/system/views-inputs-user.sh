# SPDX-License-Identifier: Apache-2.0
# The same for an ordinary user, whose node has its namespaces in one of users; or mounts by fusermount3; or does neither.
# deadline: 240
# once
. "$SRC/tests/system/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root to become another user"
command -v setpriv >/dev/null || skip "no setpriv"
# Where /dev/fuse is 0600, a node that all may use lies over it in this namespace.
mknod "$DIR/fuse" c 10 229 && chmod 666 "$DIR/fuse" && mount --bind "$DIR/fuse" /dev/fuse || skip "cannot make a device node here"
trap 'umount -l /dev/fuse || :; on_exit' EXIT
(exec 3<>/dev/fuse) 2>/dev/null || skip "device nodes do not work here"
owner=1000:1000
. "$SRC/tests/system/inputs-lib"
chown 1000:1000 "$DIR"
chmod 755 "$DIR"

as_user() { setpriv --reuid=1000 --regid=1000 --clear-groups env HOME="$DIR/home" XDG_STATE_HOME="$DIR/home/state" "$@"; }
as_user test -x "$(type -P vine)" || skip "another user cannot reach this build"
as_user unshare --user --map-root-user --mount true 2>/dev/null || skip "no user namespaces here"
for each in vined vinefs; do
	eval "$each() { exec setpriv --reuid=1000 --regid=1000 --clear-groups env HOME='$DIR/home' XDG_STATE_HOME='$DIR/home/state' '$(type -P $each)' \"\$@\"; }"
done
vine() { as_user "$(type -P vine)" "$@"; }

start_vined cluster
start_node n1 --name=n1
contains "$DIR/n1.log" 'tier views'
look views
expect 0 vine run -i "$data/tree:/opt/vine-test/never/there" -- sh -c 'cat /opt/vine-test/never/there/f5; id -u; stat -c %u /opt/vine-test/never/there/f5'
[ "$(cat "$DIR/out")" = "file 5
1000
1000" ] || fail "a path that the host lacks: $(cat "$DIR/out")"
# Once it is sealed, a large file is the cache's own.
poll 30 bound
stop n1

if [ -u "$(type -P fusermount3)" ]; then
	start_node n2 --name=n2 --tier=mount
	contains "$DIR/n2.log" 'tier mount'
	look mount
	stop n2
fi
start_node n3 --name=n3 --tier=plain
look plain
stop n3
