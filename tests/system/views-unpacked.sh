# SPDX-License-Identifier: Apache-2.0
# Where there is no mount, tasks of a user read one unpacked tree: what one has changed in it, having allowed itself to, no later one reads.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

start_vined cluster
can_be_user || skip "no ordinary user here"
mkdir -p "$DIR/in/sub"
echo first >"$DIR/in/f"
echo second >"$DIR/in/sub/g"
chmod 755 "$DIR"
start_user_node plain --tier=plain --name=plain
read_it() {
	expect 0 vine run -i "$DIR/in:/in" -i "$DIR/in/f:/file" -- sh -c 'cat "$VINE_ROOT/in/f" "$VINE_ROOT/in/sub/g" "$VINE_ROOT/file"; ls "$VINE_ROOT/in"'
	[ "$(cat "$DIR/out")" = 'first
second
first
f
sub' ] || fail "$1: a later task reads $(cat "$DIR/out")"
}
read_it "at first"
alter() {
	expect 0 vine run -i "$DIR/in:/in" -i "$DIR/in/f:/file" -- sh -c "cd \"\$VINE_ROOT/in/\" && $1"
	read_it "$1"
}
alter 'chmod u+w f && echo other >f'
alter 'chmod u+w f && echo other >f && touch -r sub f && chmod u-w f'
alter 'chmod u+w sub && echo other >sub/new && mv sub/new sub/g && chmod u-w sub'
alter 'chmod u+w . && echo more >more && chmod u-w .'
alter 'chmod u+w "$VINE_ROOT/file" && echo other >"$VINE_ROOT/file"'
# As found by the next process, too.
stop plain
start_user_node plain --tier=plain --name=plain
read_it "started again"
alter 'chmod u+w f && echo other >f && chmod u-w f'
