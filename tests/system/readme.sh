# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What README says to type works as typed, in a fresh home, line by line.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/typed-lib"

block_of() { # HEADING
	rm -rf "$DIR/blocks"
	blocks_of "$SRC/README.md" "$1" "$DIR/blocks"
	[ "$(wc -l <"$DIR/blocks/1.sh")" -ge 5 ] && [ ! -e "$DIR/blocks/2.sh" ] || fail "README's block is not found"
	cp "$DIR/blocks/1.sh" "$DIR/block"
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

# ---- a cluster by itself
block_of 'Nothing to set up'
while read -r line; do
	eval "$line" >"$DIR/typed.out" 2>"$DIR/typed.err" || fail "$line: $(cat "$DIR/typed.err")"
	case $line in
	*echo\ hello*) contains "$DIR/typed.out" hello ;;
	*echo\ there*) contains "$DIR/typed.out" there ;;
	*report*) contains sweep.html '<html' ;;
	esac
done <"$DIR/block"
rm -r "$HOME/.local/state"

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

# ---- a task and its files

block_of 'A task and its files'
mkdir "$DIR/work"
cd "$DIR/work"
while read -r line; do
	eval "$line" >"$DIR/typed.out" 2>"$DIR/typed.err" || fail "$line: $(cat "$DIR/typed.err")"
	case $line in
	*-o\ sum*) contains sum 15 ;;
	*/opt/tool/include*) contains "$DIR/typed.out" stdio.h ;;
	*temp:part:part*) contains "$DIR/typed.out" 1 ;;
	*logs*) contains "$DIR/typed.out" hello ;;
	esac
done <"$DIR/block"
[ "$(ls | tr '\n' ' ')" = "log numbers part sum " ] || fail "the work directory has: $(ls)"
[ -s /usr/include/stdio.h ] || fail "the task removed the real one"
cd /
for lock in "$state"/*/lock; do
	pid=$(cat "$lock")
	kill -TERM "$pid"
	poll 15 gone "$pid"
done
