# SPDX-License-Identifier: Apache-2.0
# A node that is stopped while its cache is being looked after ends in order.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

command -v strace >"$DIR/found" || skip "no strace"
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" # it cannot look at a process that strace has
node --scrub-rate=200K
make_tree "$DIR/a" 8 0
expect 0 vine seal -q "$DIR/a" --name a
inject pread64 delay_enter=20000
reads() { grep -q pread64 "$DIR/strace"; }
poll 20 reads # nobody does but the scrub, for a second or so
stop n1
inject_end
! grep -E 'Assertion|killed by signal' "$DIR/n1.log" || fail "it did not end in order"
