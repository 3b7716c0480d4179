# SPDX-License-Identifier: Apache-2.0
# What is installed: everything a user needs, hardened, with pages that say what the programs do.
. "$SRC/tests/system/lib.sh"

for page in vine.1 vined.8 vinefs.8; do
	file=$(find "$STAGE" -name "$page")
	[ -s "$file" ] || fail "no manual page $page"
	contains "$file" ".SH"
done
for each in $(vine help --names); do
	file=$(find "$STAGE" -name "vine-$each.1")
	[ -s "$file" ] || fail "no manual page vine-$each.1"
	contains "$file" '.SH SYNOPSIS'
done
cmp -s <(vine completion bash) "$(find "$STAGE" -path '*/bash-completion/completions/vine')" || fail "no completion for bash"
cmp -s <(vine completion zsh) "$(find "$STAGE" -path '*/site-functions/_vine')" || fail "no completion for zsh"
find "$STAGE" -name vine.h | grep -q . || fail "no vine.h"
find "$STAGE" -name vine.pc | grep -q . || fail "no vine.pc"
find "$STAGE" -name protocol.md | grep -q . || fail "no protocol.md"

for program in vine vined vinefs vine-keeper; do
	file=$(find "$STAGE" -type f -perm -100 -name $program)
	readelf -h "$file" | grep -q 'Type: *DYN' || fail "$program is not position independent"
	readelf -lW "$file" | grep -q GNU_RELRO || fail "$program has no RELRO"
	readelf -dW "$file" | grep -q BIND_NOW || fail "$program binds lazily"
	readelf -lW "$file" | grep GNU_STACK | grep -q 'RW ' || fail "the stack of $program is executable"
	[ ! -u "$file" ] && [ ! -g "$file" ] || fail "$program is setuid"
done
readelf -sW "$(find "$STAGE" -type f -perm -100 -name vined)" | grep -q __stack_chk_fail || fail "vined has no stack protector"

# Only vine_* leaves the library, each with a version, and none collides with TaskVine's.
library=$(find "$STAGE" -name 'libvineclient.so.*' -type f)
nm -D --defined-only "$library" | awk '$2 ~ /[TDBR]/ { print $3 }' >"$DIR/symbols"
grep -q '^vine_open@@' "$DIR/symbols" || fail "vine_open is not there or has no version"
! grep -v '^vine_' "$DIR/symbols" || fail "other names leave the library"
for taken in vine_create vine_delete vine_submit vine_wait vine_declare_file vine_task_create vine_task_delete vine_enable_peer_transfers; do
	! grep -q "^$taken@" "$DIR/symbols" || fail "$taken is TaskVine's"
done

for program in vined vinefs; do
	expect 0 $program --help
	contains "$DIR/out" --state
	expect 0 $program --version
	contains "$DIR/out" "$(cat "$SRC/VERSION")"
done
expect 0 vine version
contains "$DIR/out" "$(cat "$SRC/VERSION")"
expect 0 vine help
for word in run status doctor; do contains "$DIR/out" $word; done
expect 0 vine help run
contains "$DIR/out" --cores
expect 0 vine doctor
contains "$DIR/out" tier
expect 0 vine doctor --json
