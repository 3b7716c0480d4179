# SPDX-License-Identifier: Apache-2.0
# A single file is mounted on a file, by mount(2) and by fusermount3, and is again after its server has died.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

head -c 3000000 /dev/urandom >"$DIR/one.dat"
chmod 640 "$DIR/one.dat"
touch -d '2001-02-03 04:05:06.789' "$DIR/one.dat"
: >"$DIR/empty"
echo under >"$DIR/at"

is_the_file() {
	cmp "$DIR/one.dat" "$DIR/at" || fail "other bytes"
	[ "$(stat -c '%a %s %y %F' "$DIR/at")" = "$(stat -c '%a %s %y %F' "$DIR/one.dat")" ] || fail "other attributes: $(stat "$DIR/at")"
}

for how in --threads=1 --helper; do
	[ $how != --helper ] || command -v fusermount3 >/dev/null || continue
	serve --single $how "$DIR/at" "$DIR/one.dat"
	is_the_file
	! (echo x >>"$DIR/at") 2>/dev/null || fail "it was written"
	! ls "$DIR/at/x" 2>/dev/null || fail "a file has names below it"
	[ "$(ask hot)" = / ] || fail "no record of what was read first: $(ask hot)"
	ask warm | grep -q 'directories=0 files=1 bytes=3000000' || fail "it was not warmed"
	exec 5<"$DIR/at"
	refused unmount | grep -q "$$" || fail "nobody is said to hold it"
	exec 5<&-
	ask unmount
	[ "$(cat "$DIR/at")" = under ] || fail "it is still mounted"
	stop serve
done

# A dead one is taken away by the next.
serve --single "$DIR/at" "$DIR/one.dat"
crash serve
serve --single "$DIR/at" "$DIR/one.dat"
is_the_file
ask unmount
stop serve
serve --single "$DIR/at" "$DIR/empty"
[ -z "$(cat "$DIR/at")" ] && [ -f "$DIR/at" ] || fail "an empty file is not one"
ask unmount
stop serve
while umount "$DIR/at" 2>/dev/null; do :; done
[ "$(cat "$DIR/at")" = under ] || fail "what lay there has changed"

mkfifo "$DIR/fifo"
mount-serve --single "$DIR/fifo" "$DIR/one.dat" 2>"$DIR/said" && fail "mounted on a FIFO" || :
grep -q 'neither a directory nor a file' "$DIR/said" || fail "it does not say why: $(cat "$DIR/said")"
