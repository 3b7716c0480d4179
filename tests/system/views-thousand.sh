# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# once
# 1,000 tasks, 32 at a time, in views with an input that all read and one that each may write to: afterwards no mount, process, control group, descriptor or directory is left of them, and
# keeper and vinefs are as large as they were.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=thousand --cores=32 --task-limit=32 --keep-failed=0s
keeper=$(cat "$DIR/n1/lock")
worker=$(pgrep -P "$keeper" -x vinefs)
mkdir "$DIR/in" "$DIR/rw"
seq 1 1000 >"$DIR/in/numbers"
echo given >"$DIR/rw/given"

wave() { # COUNT
	SHOW="how status" post "$1" in="$DIR/in" in="$DIR/numbers" sh -c "
		i={i}
		[ \$(wc -l <$DIR/in/numbers) = 1000 ] && echo \$i >here && echo \$i >/tmp/there && [ \$(cat here /tmp/there | uniq) = \$i ] || exit 1
		(setsid sh -c 'trap \"\" TERM; sleep 1000' >/dev/null 2>&1 &)
	" >"$DIR/wave.out" 2>"$DIR/wave.err" || fail "$(cat "$DIR/wave.err")"
	[ "$(grep -c '^exited 0$' "$DIR/wave.out")" = "$1" ] || fail "$(sort "$DIR/wave.out" | uniq -c)"
}
seq 1 10 >"$DIR/numbers"
children() { pgrep -P "$keeper" | grep -vcx "$worker"; }
groups() { find /sys/fs/cgroup -type d -path '*vine-thousand*' 2>/dev/null | wc -l; }
sandboxes() { ls "$DIR/n1/s" | wc -l; }
mounts() { wc -l </proc/$keeper/mountinfo; }
rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }
fds() { ls "/proc/$1/fd" | wc -l; }
clean() { [ "$(children)" = 0 ] && [ "$(sandboxes)" = 0 ]; }

wave 200
poll 20 clean
fds_keeper=$(fds $keeper) fds_worker=$(fds $worker) n_groups=$(groups) n_mounts=$(mounts)
rss_keeper=$(rss $keeper) rss_worker=$(rss $worker)
wave 1000
poll 30 clean
echo "keeper $rss_keeper -> $(rss $keeper) KiB, $fds_keeper -> $(fds $keeper) descriptors; vinefs $rss_worker -> $(rss $worker) KiB, $fds_worker -> $(fds $worker)"
# A thread of the pool more or less, a kept view: what leaks would be hundreds.
same() { [ "$(fds $keeper)" -le $((fds_keeper + 10)) ] && [ "$(fds $worker)" -le $((fds_worker + 20)) ] && [ "$(groups)" -le "$n_groups" ] && [ "$(mounts)" -le "$n_mounts" ]; }
poll 20 same
[ $(($(rss $keeper) - rss_keeper)) -lt 1024 ] || fail "the keeper has grown: $rss_keeper -> $(rss $keeper) KiB"
# A sanitizer keeps what was freed for a while.
[ -n "${ASAN_OPTIONS-}" ] && ldd "$(command -v vinefs)" | grep -q asan || [ $(($(rss $worker) - rss_worker)) -lt 4096 ] ||
	fail "vinefs has grown: $rss_worker -> $(rss $worker) KiB"
! pgrep -f 'sleep 1000' >/dev/null || fail "what tasks left in the background is there still"
