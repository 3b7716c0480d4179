# SPDX-License-Identifier: Apache-2.0
# FAULTS row 15: the user is wrong. Refused at submit with what and why, by our client in one line, by vined for whoever speaks to it
# without; and nothing is half submitted.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=n1

# ---- vined itself
expect 0 wrong "$VINE"

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

# ---- nothing of it is there, and nothing of it hinders
expect 0 vine status
contains "$DIR/out" ' 0 queued, 0 running, 0 held, 0 ended'
expect 0 vine run -- echo well
contains "$DIR/out" well
