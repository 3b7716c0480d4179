# SPDX-License-Identifier: Apache-2.0
# deadline: 100
# alone
# once
# 16 hosts of 50 Mbit/s have a file of 12.5 MB from one that has it: over their links, verified, in a bounded time, and mostly from each other.
. "$SRC/tests/system/lib.sh"

command -v tc >"$DIR/found" || skip "no tc"
status=0
VINE_BENCH_DIR=$DIR python3 "$SRC/tests/bench/net/bench_net.py" swarm-check >"$DIR/said" 2>&1 || status=$?
cat "$DIR/said"
[ $status != 77 ] || skip "$(tail -n 1 "$DIR/said")"
[ $status = 0 ] || fail "swarm-check ended with status $status"
[ -z "$(ls -d "$DIR"/vine-bench-* 2>/dev/null)" ] || fail "the bench left its directory"
