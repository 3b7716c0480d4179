# SPDX-License-Identifier: Apache-2.0
# The secret is in its file and nowhere else: no argv, environment, log, database, output; and tasks and other users cannot reach the daemons.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1
secret=$(cat "$DIR/cluster/secret")
raw=$(printf '%s' "$secret" | sed 's/../\\x&/g')
vine run -- sh -c 'env; cat /proc/self/environ' >"$DIR/task-environment"
vine status >"$DIR/status"
holds_secret() { grep -qaF -e "$secret" "$1" || LC_ALL=C grep -qaP -e "$raw" "$1"; }
for each in /proc/[0-9]*; do
	! holds_secret "$each/cmdline" || fail "the secret is in $(tr '\0' ' ' <"$each/cmdline")"
	! holds_secret "$each/environ" || fail "the secret is in the environment of $(cat "$each/comm")"
done
while read -r file; do
	[ "$file" = "$DIR/cluster/secret" ] || ! holds_secret "$file" || fail "the secret is in $file"
done < <(find "$DIR" -type f)
for pid in "$(field cluster pid)" "$(field n1 pid)"; do
	[ "$(stat -c %U "/proc/$pid/environ")" = root ] || fail "process $pid may be traced by its user"
done

# Another user reaches nothing.
if [ "$(id -u)" = 0 ] && command -v setpriv >"$DIR/found"; then
	other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	for file in "$(field cluster socket)" "$DIR/cluster/secret" "$DIR/n1"; do
		! "${other[@]}" ls "$file" 2>"$DIR/denied" || fail "another user reaches $file"
	done
	chmod 755 "$DIR" "$DIR/cluster"
	chmod 666 "$(field cluster socket)"
	VINE=$(field cluster socket) expect 125 "${other[@]}" "$(command -v vine)" status
	contains "$DIR/err" "belongs to user 0"
	"${other[@]}" "$(command -v hello)" "$(field cluster socket)" 1 0 >"$DIR/said" || :
	[ ! -s "$DIR/said" ] || fail "vined says to another user: $(cat "$DIR/said")"
	poll 10 grep -q 65534 "$DIR/cluster.log"
fi
