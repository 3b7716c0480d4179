# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# 300 files of one directory are inputs: where the host has that directory, with others in it that nobody declared, where it has none, and in the working directory. All is there, what may not be
# written cannot be, a task does not get a mount for each, and nothing is left when vinefs was killed meanwhile.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

n=300
mkdir -p "$DIR/data/sub" "$DIR/here" "$DIR/flags"
chmod 1777 "$DIR/flags"
for ((i = 0; i < n; i++)); do echo "file $i" >"$DIR/data/f$i"; done
echo neighbour >"$DIR/data/undeclared"
echo below >"$DIR/data/sub/undeclared"
chmod -R a+rX "$DIR/data"
chmod 755 "$DIR"
find "$DIR/data" -exec touch -h -d '10 days ago' {} +
wanted=$(cat "$DIR/data"/f* | cksum)
start_vined cluster
cd "$DIR/here"

declare_at() { # DIRECTORY/ [SUFFIX]: into $inputs
	inputs=()
	for ((i = 0; i < n; i++)); do inputs+=(-i "$DIR/data/f$i:$1f$i${2-}"); done
}
vine_run() { vine run "${inputs[@]}" "$@"; }

# In a task: fails unless nothing can be written there, and says how many mounts there are.
look='refused() { (echo more >>"$1") 2>&1 | grep -q "Read-only file system"; }
mounts() { wc -l </proc/self/mountinfo; }'

few() { # MOST: the last line that the task printed
	[ "$(tail -n 1 "$DIR/out")" -lt "$1" ] || fail "$who: a task sees $(tail -n 1 "$DIR/out") mounts"
}

# ---- in views
many() {
	declare_at "$DIR/data/"
	expect 0 vine_run -- sh -c "$look
cd $DIR/data && cat f[0-9]* | cksum && cat undeclared sub/undeclared && refused f7 && refused new && mounts"
	[ "$(head -n 3 "$DIR/out")" = "$wanted
neighbour
below" ] || fail "$who: $(cat "$DIR/out")"
	few 100
	# Who says that he writes there can.
	expect 0 vine_run -o "$DIR/data/made:made" -- sh -c "$look
cd $DIR/data && cat f[0-9]* | cksum >made && cat undeclared && refused f7"
	[ "$(cat made)" = "$wanted" ] || fail "$who: beside its inputs it made $(cat made)"
	[ ! -e "$DIR/data/made" ] || fail "$who: it was written in place"
	survives
	nothing_left
}

# Where the host has nothing, while vinefs is killed.
survives() {
	local keeper task
	keeper=$(field "$who-$tier" keeper)
	rm -f "$DIR/flags/"*
	declare_at /of/nobody/
	vine_run -- sh -c "$look
cat /of/nobody/f1[0-9] >/dev/null; : >$DIR/flags/begun; until [ -e $DIR/flags/go ]; do :; done
cd /of/nobody && cat * | cksum && ls | wc -l && refused f7 && refused new && mounts" >"$DIR/out" 2>"$DIR/err" &
	task=$!
	poll 20 test -e "$DIR/flags/begun"
	kill -KILL "$(pgrep -P "$keeper" -x vinefs)"
	touch "$DIR/flags/go"
	wait "$task" || fail "$who: it did not outlive vinefs: $(cat "$DIR/err")"
	[ "$(head -n 2 "$DIR/out")" = "$wanted
$n" ] || fail "$who: it read something else: $(cat "$DIR/out")"
	few 100
	expect 0 vine_run -- sh -c 'cat /of/nobody/* | cksum'
	prints "$wanted"
}

alone() { [ "$(pgrep -P "$(field "$who-$tier" keeper)" | wc -l)" = 1 ]; }
nothing_left() {
	poll 20 alone
	! grep -q "$state" /proc/self/mountinfo || fail "$who: mounts are left: $(grep "$state" /proc/self/mountinfo)"
	[ "$(ls "$DIR/data" | wc -l)" = $((n + 2)) ] || fail "$who: the source has $(ls "$DIR/data" | wc -l) names"
}

# ---- in every tier
beside() {
	rm -f result
	declare_at "" ":ro"
	inputs[1]=$DIR/data/f0:f0:rw
	expect 0 vine_run -o result -- sh -c "$look
cat f* | cksum >result; echo more >>f0 && echo mine >own && cat f0 own && mounts"
	[ "$(head -n 3 "$DIR/out")" = 'file 0
more
mine' ] || fail "tier $tier, $who: $(cat "$DIR/out")"
	[ "$(cat result)" = "$wanted" ] || fail "tier $tier, $who: $(cat result)"
	[ "$(cat "$DIR/data"/f* | cksum)" = "$wanted" ] || fail "tier $tier, $who: the source was changed"
	[ "$tier" = views ] || return 0
	few $((n + 100))
	# What it wrote besides is named, and no input.
	expect 3 vine_run -- sh -c 'echo more >>f0; echo mine >own; exit 3'
	contains "$DIR/err" own
	contains "$DIR/err" f0
	! grep -q 'f1[0-9]' "$DIR/err" || fail "$who: what it did not write: $(cat "$DIR/err")"
	many
}
each_node_as root beside
if can_be_user; then each_node_as user beside views; fi
