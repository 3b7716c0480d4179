# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# What the tutorial says to type works as typed and prints what it says, chapter by chapter, each in an empty directory with nothing started.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/typed-lib"

page=$SRC/doc/tutorial.md
grep '^## ' "$page" | sed 's/^## //' >"$DIR/chapters"
[ "$(wc -l <"$DIR/chapters")" -ge 6 ] || fail "the chapters are not found"
# Each chapter ends what it has started.
all_gone() {
	local lock
	for lock in "$typed_home"/.local/state/vine/*/lock; do
		poll 15 gone "$(cat "$lock")"
	done
}

# What a machine must have for it.
can() { # CHAPTER
	case $1 in
	'A legacy binary') vine doctor | grep -q '^tier  *views' ;;
	'A slow directory') [ -w /dev/fuse ] ;;
	esac
}

while read -r chapter; do
	can "$chapter" || continue
	type_chapter "$page" "$chapter"
	all_gone
done <"$DIR/chapters"
