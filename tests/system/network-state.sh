# SPDX-License-Identifier: Apache-2.0
# State on a filesystem that is not surely local is refused unless the user says that no other machine uses it.
. "$SRC/tests/system/lib.sh"

mirror() {
	exec "$BUILD/tests/system/mirror" "$DIR/shared" -f -s -o source="$DIR/behind"
}

[ -e /dev/fuse ] || skip "no /dev/fuse"
mkdir -m 700 "$DIR/shared" "$DIR/behind"
mirror &
trap 'umount -l "$DIR/shared" || :; on_exit' EXIT
poll 10 mountpoint "$DIR/shared"

refused() { # CMD...
	expect 125 timeout 20 "$@"
	contains "$DIR/err" "$DIR/shared/a"
	contains "$DIR/err" "fuse"
	contains "$DIR/err" "exclusive = yes"
	[ "$(wc -l <"$DIR/err")" = 1 ] || fail "not one line: $(cat "$DIR/err")"
	[ -z "$(ls -A "$DIR/behind/a")" ] || fail "something was written there: $(ls -A "$DIR/behind/a")"
}

refused vined --state="$DIR/shared/a" --listen=127.0.0.1:0
refused vinefs --state="$DIR/shared/a" --vined="$DIR/none.sock"

# With the word it starts, and works.
start exclusive 'vined ready' vined --state="$DIR/shared/b" --listen=127.0.0.1:0 --exclusive
VINE=$(field exclusive address) VINE_SECRET=$DIR/behind/b/secret vine status >"$DIR/out"
stop exclusive
umount "$DIR/shared"
wait
trap on_exit EXIT
