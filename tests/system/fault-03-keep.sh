# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# FAULTS row 3, for what is published: an attempt is granted its keep and cut off for longer than the node timeout. The next one is not granted it while
# the first may still publish, whatever dies meanwhile, and is then; the first one publishes nothing when it is back. vined is killed between
# grant and publishing, and between publishing and the end: the path has what the attempt made whose result counts.
. "$SRC/tests/system/lib.sh"

target=$DIR/shared/result
mkdir "$DIR/shared"

player() { # NAME NUMBER WITHIN_MSEC
	mkdir -p "$DIR/$1.d"
	start "$1" 'publish ready' publish node "$VINE" "deadbeef-0000-4000-8000-00000000000$2" "$1" "$3" "$DIR/$1.d"
}
said() { grep -qx "$2" "$DIR/$1.out"; }
again() {
	poll 20 is_recorded cluster
	crash cluster
	start_vined cluster --node-timeout=2s
}
hundredths() { cut -d ' ' -f 1 /proc/uptime | tr -d .; }

# ---- cut off after the grant
start_vined cluster --node-timeout=2s
player first 1 12000
poll 20 said first 'publish ready'
expect 0 publish submit "$VINE" "$target"
poll 20 said first granted
granted=$(hundredths)
# A second maker of the path is refused while there is one.
expect 1 publish submit "$VINE" "$target"
contains "$DIR/out" 'makes it already'
touch "$DIR/first.d/cut"
poll 20 said first 'cut off'
player second 2 20000
poll 20 said second started
poll 20 said second 'must wait'
again
poll 40 said second granted
[ $(($(hundredths) - granted)) -ge 1200 ] || fail "granted while the first might still publish"
again

# ---- the second publishes while vined is away, and its end counts
crash cluster
touch "$DIR/second.d/publish"
poll 20 said second published
start_vined cluster --node-timeout=2s
poll 20 said second over
[ "$(cat "$target")" = second ] || fail "not what the second made: $(cat "$target")"

# ---- the first is back
touch "$DIR/first.d/publish"
poll 20 said first 'too late'
rm "$DIR/first.d/cut"
poll 20 said first fenced
poll 20 said first over
[ "$(cat "$target")" = second ] || fail "the first has put its own there: $(cat "$target")"
expect 0 publish result "$VINE"
contains "$DIR/out" 'how 1 attempts 2'
! said first published || fail "the first has published"

# ---- what was made may be made again, by whom it is granted
player third 3 20000
touch "$DIR/third.d/publish"
expect 0 publish submit "$VINE" "$target"
poll 20 said third over
[ "$(cat "$target")" = third ] || fail "it was not made again: $(cat "$target")"
for each in first second third; do
	unset "pid_of[$each]"
done
