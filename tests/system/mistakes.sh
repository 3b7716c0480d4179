# SPDX-License-Identifier: Apache-2.0
# The mistakes of new users: every line of doc/mistakes.md is typed as it stands there, and prints what it says. Then what no table can say.
. "$SRC/tests/system/lib.sh"

mkdir -p "$DIR/work/lib" "$DIR/scratch"
mount -t tmpfs -o size=1M tmpfs "$DIR/scratch"
trap 'umount -l "$DIR/scratch" 2>/dev/null || :; on_exit' EXIT
cd "$DIR/work"
echo '{}' >params.json
echo 'x = 1' >helper.py
echo 'import helper' >analyse.py
echo 'echo hello' >model
# A program that needs a library which lies here: its own libc under another name.
program=$(command -v hello)
libc=$(ldd "$program" | sed -n 's/.*libc\.so\.6 => \([^ ]*\).*/\1/p')
LC_ALL=C sed 's/libc\.so\.6/libq.so.6/g' "$program" >legacy
chmod +x legacy
[ -z "$libc" ] || cp "$libc" lib/libq.so.6

expect 0 vine run -- true
state=$HOME/.local/state/vine/default
start other 'aged ready' aged "$DIR/other.sock" "$state/vined.sock" major daemon

# A cell of the table without its quotes, of which there may be two.
cell() { # LINE N
	cut -d '|' -f "$2" <<<"$1" | sed -e 's/^ //' -e 's/ $//' -e tx -e :x -e 's/^`` \(.*\) ``$/\1/' -e 't' -e 's/^`\(.*\)`$/\1/'
}

can() { # TYPED: what this machine lets us try
	case $1 in
	*python3*) command -v python3 >"$DIR/found" ;;
	*legacy*) [ -n "$libc" ] ;;
	esac
}

n=0
while read -r line; do
	typed=$(cell "$line" 3) printed=$(cell "$line" 4) wanted=$(cell "$line" 5)
	can "$typed" || continue
	status=0
	timeout 30 bash -c "$typed" >"$DIR/typed" 2>&1 || status=$?
	got=$(tr '\n' ' ' <"$DIR/typed")
	[ "$status" = "$wanted" ] || fail "$typed ended with $status, not $wanted: $got"
	pattern=$(sed -e 's/[][\\*?]/\\&/g' -e 's/\.\.\./*/g' <<<"$printed")
	# shellcheck disable=SC2053
	[[ ${got% } == $pattern ]] || fail "$typed printed: $got, not: $printed"
	n=$((n + 1))
done < <(sed -n 's/^\(| .*`vine .*\|| .*`VINE=.*\)/\1/p' "$SRC/doc/mistakes.md")
[ $n -ge 15 ] || fail "only $n lines of the table were tried"
stop other

# ---- a terminal that is closed while one waits: the run goes on
expect 0 vine submit --name long -- sh -c 'echo begun; exec sleep 1000'
vine wait long >"$DIR/wait" 2>&1 &
waiter=$!
is_begun() { vine logs long | grep -q begun; }
poll 10 is_begun
kill -HUP $waiter
status=0
wait $waiter || status=$?
[ $status = 129 ] || fail "SIGHUP ended the waiting with $status"
expect 0 vine status long@running
contains "$DIR/out" long

# ---- two clusters at once: each has its own runs, and says whose it is
expect 0 vine up --name second
expect 0 env VINE=second vine submit --name there -- sh -c 'exit 3'
expect 3 env VINE=second vine wait there
contains "$DIR/err" 'exit status 3'
expect 125 vine wait there
contains "$DIR/err" "there is no run 'there'"
expect 0 vine down --name second
expect 0 vine cancel long
expect 0 vine cancel big
expect 125 vine wait -q long

# ---- what is over is forgotten, also if nobody has waited for it; what is not, is not
expect 0 vine submit --name lone -- sh -c 'exit 4'
is_over() { vine status lone | grep -q '1 failed'; }
poll 10 is_over
expect 0 vine why lone
contains "$DIR/out" 'failed: exit status 4'
expect 0 vine why
contains "$DIR/out" 'the newest run, lone: 0 done, 1 failed'
expect 0 vine why "$PWD/params.json"
contains "$DIR/out" "$PWD/params.json is here, but no task"
expect 0 vine why /etc/nosuch/y
contains "$DIR/out" '/etc/nosuch/y is not there on this machine (/etc is)'
expect 0 vine why "$(vine status --json | sed -n 's/.*"name": "\(.*\)",/\1/p' | head -n 1)"
contains "$DIR/out" 'is connected: it runs'
expect 0 vine submit --name bad --array 1-5 -- sh -c 'cat in.{i}'
expect 1 vine wait bad
contains "$DIR/err" '5 (as '
contains "$DIR/err" 'is not there, nor here'
expect 0 vine why bad
contains "$DIR/out" 'bad@failed: 5 failed'
expect 0 vine logs --most 2 bad@failed
contains "$DIR/err" 'the newest 2 of 5'
[ "$(grep -c '==> task .*exit status 1 on node' "$DIR/out")" = 2 ] || fail "logs: $(cat "$DIR/out")"
expect 0 vine forget lone
expect 125 vine status lone
expect 0 vine down
