# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What a task finds in its environment, its standard input, its masks and directories.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

start_vined cluster
mkdir "$DIR/data" "$DIR/work"
echo values >"$DIR/data/table"
chmod 755 "$DIR"
chmod 777 "$DIR/work"

environment() {
	expect 0 vine run -e "A=b c" -- sh -c 'echo "$A"; [ "$PWD" = "$(pwd -P)" ] && [ -n "$VINE_TASK" ] && [ -n "$VINE_ATTEMPT" ] && [ -d "$VINE_SANDBOX" ] && [ -d "$VINE_ROOT" ] && [ -d "$TMPDIR" ] && touch "$TMPDIR/x" && echo "$OMP_NUM_THREADS"'
	prints 'b c
1'
	expect 0 vine run --clean-env -- sh -c 'echo "$VINE_TASK$HOME" | grep -c .'
	expect 0 vine run --home sandbox -- sh -c 'cd && touch x && pwd && [ "$HOME" = "$VINE_SANDBOX/home" ]'
	expect 0 vine run --home /nowhere -- sh -c 'echo $HOME'
	prints /nowhere
	expect 0 vine run --umask 027 -- sh -c 'umask; touch x; stat -c %a x'
	prints '0027
640'
	expect 0 vine run --stdin "$DIR/data/table:in/table" -- cat
	prints values
	expect 0 vine run -- sh -c 'cat; readlink /proc/self/fd/0'
	prints /dev/null
	rm -f "$DIR/work/made"
	expect 0 vine run --chdir "$DIR/work" -- sh -c 'pwd; echo made >made'
	prints "$DIR/work"
	[ "$(cat "$DIR/work/made")" = made ] || fail "it did not work there"
	expect 0 vine run -- sh -c 'touch a && mkdir b && ls'
	prints 'a
b'
	expect 0 vine run -- ls -A .
	prints ''
}
each_node environment

private_tmp() {
	expect 0 vine run -- sh -c 'echo mine >/tmp/vine-test-mine; echo "$TMPDIR"'
	prints /tmp
	[ ! -e /tmp/vine-test-mine ] || fail "it is the host's /tmp"
}
each_node private_tmp views
