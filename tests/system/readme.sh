# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What README says to type works as typed, in a fresh home, line by line.
. "$SRC/tests/system/lib.sh"

block_of() { # HEADING
	sed -n "/^## $1/,/^## /p" "$SRC/README.md" | sed -n '/^```/,/^```/p' | grep -v '^```' >"$DIR/block"
	[ "$(wc -l <"$DIR/block")" -ge 5 ] || fail "README's block is not found"
}

# ---- a mount, and nothing else runs
if [ -e /dev/fuse ] && [ -d /usr/include ]; then
	block_of 'Make a slow directory fast'
	while read -r line; do
		eval "$line" >"$DIR/typed.out" 2>"$DIR/typed.err" || fail "$line: $(cat "$DIR/typed.err")"
		case $line in
		"vine mount   "*) contains "$DIR/typed.out" /usr/include ;;
		"vine cache ls"*) poll 30 eval 'vine cache ls | grep /usr/include' ;; # once it is sealed
		*--\ grep*) contains "$DIR/typed.out" "$(grep -c define /usr/include/stdio.h)" ;;
		esac
	done <"$DIR/block"
	pid=$(cat "$HOME/.local/state/vine/node/lock")
	kill -TERM "$pid"
	poll 15 gone "$pid"
	rm -r "$HOME/.local/state"
fi

# ---- a cluster

block_of 'By hand'
state=$HOME/.local/state/vine
ready() { [ -S "$state/default/vined.sock" ] && vine status >"$DIR/status"; }
joined() { vine status | grep -q ' connected '; }
while read -r line; do
	line=${line%%#*}
	eval "$line" >"$DIR/typed.out" 2>"$DIR/typed.err" || fail "$line: $(cat "$DIR/typed.err")"
	case $line in
	vined*) poll 10 ready ;;
	vinefs*) poll 10 joined ;;
	*echo\ hello*) contains "$DIR/typed.out" hello ;;
	*doctor*) contains "$DIR/typed.out" tier ;;
	esac
done <"$DIR/block"
for lock in "$state"/*/lock; do
	pid=$(cat "$lock")
	kill -TERM "$pid"
	poll 15 gone "$pid"
done
