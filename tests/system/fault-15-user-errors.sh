# SPDX-License-Identifier: Apache-2.0
# FAULTS row 15: the user is wrong. Refused at submit with what and why, by our client in one line, by vined for whoever speaks to it
# without; and nothing is half submitted.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=n1

# ---- vined itself
expect 0 wrong "$VINE"
RUN=wrong expect 0 post 0
[ "$(grep -c ' exited 0 1$' "$DIR/out")" = 2 ] || fail "the good ones of them: $(cat "$DIR/out")"

# ---- what a person sees
newline=$'a\nb'
refused() { # TEXT CMD...: one line with TEXT, exit status 125
	local text=$1
	shift
	expect 125 timeout 20 "$@"
	contains "$DIR/err" "$text"
	[ "$(wc -l <"$DIR/err")" = 1 ] || fail "not one line: $(cat "$DIR/err")"
	! LC_ALL=C grep -qP '[\x00-\x09\x0b-\x1f\x7f]' "$DIR/err" || fail "control characters: $(cat -A "$DIR/err")"
}
refused 'run name' vine run --name="$newline" -- true
refused 'run name' vine run --name=17 -- true
refused 'tag' vine run --tag="$newline" -- true
refused 'which command' vine run
refused 'command' vine run -- ''
refused 'cores' vine run --cores=0.5 -- true
refused 'cores' vine run --cores=65537 -- true
refused 'mem' vine run --mem=2X -- true
refused 'priority' vine run --priority=high -- true
refused 'key' post 1 key="$newline" true
refused 'argument' post 1 echo '{1e6}'
refused 'cores' post 1 cors=1 true
refused 'retries' post 1 retries=-1 true
refused 'deadline' post 1 deadline=soon true
refused 'wall-time' post 1 wall-time=2parsecs true

# Inputs: what is not there, cannot be read, or is no file.
mkfifo "$DIR/fifo"
ln -s nowhere "$DIR/dangling"
refused "$DIR/missing" post 1 in="$DIR/missing" true
refused "$DIR/dangling" post 1 in="$DIR/dangling" true
refused 'FIFO' post 1 in="$DIR/fifo" true
refused 'device' post 1 in=/dev/null true
refused 'socket' post 1 in="$(field cluster socket)" true
refused "'..'" post 1 in=node:/x/../y true
refused "'..'" post 1 in=node:/x@../x true
refused 'control' post 1 in="node:/$newline" true
refused 'temp:nobody' post 1 in=temp:nobody@x true
refused 'makes it already' post 2 out=o@twice true
refused 'what it makes itself' post 1 in=temp:self@i out=o@self true
if [ "$(id -u)" = 0 ] && command -v setpriv >"$DIR/found"; then
	echo secret >"$DIR/unreadable"
	chmod 0 "$DIR/unreadable"
	refused 'cannot be read' setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all \
		"$(command -v post)" 1 in="$DIR/unreadable" true
fi

# ---- nothing of it is there, and nothing of it hinders
expect 0 vine status
contains "$DIR/out" ' 0 queued, 0 running, 0 held, 0 ended'
expect 0 vine run -- echo well
contains "$DIR/out" well
