# SPDX-License-Identifier: Apache-2.0
# once
# What doctor says is what a node then does: its tier, and who limits memory and processes; for root, for an ordinary user, and where something is missing.
. "$SRC/tests/system/lib.sh"

compare() { # NAME CMD...: of a node of that name, started by CMD; doctor's report is in $DIR/NAME.doctor
	local name=$1 said tier want=
	said=$(sed -n 's/^tier *\([a-z]*\).*/\1/p' "$DIR/$name.doctor")
	joined() { vine status | grep -w "$name" | grep -q .; }
	poll 20 joined
	tier=$(vine status --json | python3 -c 'import json, sys
print(*[n["tier"] for n in json.load(sys.stdin)["nodes"] if n["name"] == sys.argv[1]])' "$name")
	[ "$tier" = "$said" ] || fail "$name: doctor says tier $said, the node has $tier"
	# "memory by version 1" is "cgroup v1: ... memory".
	local use word
	for use in memory processes; do
		word=$(sed -n "s/^cgroups.*$use by version \([12]\).*/cgroup v\1/p" "$DIR/$name.doctor")
		want=${word:-by looking}
		grep "limits of tasks:" "$DIR/$name.log" | tail -n 1 | grep -q "$want:[^;]* $use" ||
			fail "$name: doctor says $use: $want; the node: $(grep "limits of tasks:" "$DIR/$name.log")"
	done
}

start_vined cluster
vine doctor --state="$DIR/n1" >"$DIR/n1.doctor"
start_node n1 --name=n1 --log-level=debug
compare n1

[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || exit 0
chmod 755 "$DIR"
mkdir "$DIR/1000" && chown 1000:1000 "$DIR/1000"
user=(setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$DIR/1000")
"${user[@]}" vine version >/dev/null 2>&1 || skip "another user cannot run this build"
install -m 600 -o 1000 "$DIR/cluster/secret" "$DIR/1000/secret"
start_user() { # NAME
	"${user[@]}" vine doctor --state="$DIR/1000/$1" >"$DIR/$1.doctor"
	start "$1" 'vinefs ready' "${user[@]}" vinefs --state="$DIR/1000/$1" --name="$1" --log-level=debug --vined="$(field cluster address)" --secret="$DIR/1000/secret"
	compare "$1"
}
# /dev/fuse as it is here, mostly root's alone: then there is no tier but plain; and one that all may use.
start_user closed
mknod "$DIR/fuse" c 10 229 && chmod 666 "$DIR/fuse" && mount --bind "$DIR/fuse" /dev/fuse || skip "cannot make a device node here"
trap 'umount -l /dev/fuse || :; on_exit' EXIT
start_user open
