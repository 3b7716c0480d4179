# SPDX-License-Identifier: Apache-2.0
# Root of a container that may not mount is an ordinary user to the kernel: its views are in a user namespace, with overlays that can be written to.
. "$SRC/tests/system/lib.sh"

[ "$(id -u)" = 0 ] && [ -e /dev/fuse ] && command -v setpriv >/dev/null || skip "needs root, /dev/fuse and setpriv"
weak=(setpriv --bounding-set -sys_admin --inh-caps -sys_admin)
"${weak[@]}" unshare --user --map-root-user --mount true 2>/dev/null || skip "no user namespaces here"
start_vined cluster
start n1 'vinefs ready' "${weak[@]}" vinefs --state="$DIR/n1" --name=n1 --vined="$(field cluster address)" --secret="$DIR/cluster/secret"
grep -q "tier views" "$DIR/n1.log" || fail "no views: $(cat "$DIR/n1.log")"
mkdir -p "$DIR/in/sub" "$DIR/beside"
echo old >"$DIR/in/f"
echo old >"$DIR/in/sub/g"
expect 0 vine run -i "$DIR/in:/data:rw" -o "$DIR/beside/made:temp:made" -- sh -c "cd /data && echo new >f && rm -r sub && mkdir sub && mv f h && cat h && ls sub && cp h $DIR/beside/made"
[ "$(cat "$DIR/out")" = new ] || fail "it read: $(cat "$DIR/out")"
expect 0 vine fetch temp:made -
[ "$(cat "$DIR/out")" = new ] || fail "it left: $(cat "$DIR/out")"
[ "$(cat "$DIR/in/f" "$DIR/in/sub/g")" = "old
old" ] && [ ! -e "$DIR/beside/made" ] || fail "the host's was changed"
expect 0 vine run -- sh -c 'true >>/proc/sys/kernel/core_pattern || true >>/sys/kernel/uevent_helper || echo refused'
[ "$(cat "$DIR/out")" = refused ] || fail "it set something of the kernel's"
