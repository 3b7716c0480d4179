# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# An unmodified static program finds its data at the path compiled into it, which no host has; in other tiers below VINE_ROOT. What a task names is where
# it says, what it does not name is the host's.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

# A node that was stopped is no other node to go to: soon gone, it is not one that this is judged by.
start_vined cluster --node-timeout=500ms
mkdir -p "$DIR/data/sub/deep" "$DIR/empty"
echo values >"$DIR/data/table"
echo others >"$DIR/data/other"
echo deep >"$DIR/data/sub/deep/file"
echo undeclared >"$DIR/undeclared"
chmod 755 "$DIR"
legacy=$(command -v legacy)
data=/legacy-code/v1.2/data

places() {
	root='""'
	[ "$tier" = views ] || root='"$VINE_ROOT"'
	expect 0 vine run -i "$DIR/data:$data" -- sh -c "$legacy read $root"
	prints values
	# A path that the host has, one that it lacks below one that it has, single files, and below the working directory.
	expect 0 vine run -i "$DIR/data" -- sh -c 'cat "$VINE_ROOT/$1/sub/deep/file"' sh "$DIR/data"
	prints deep
	expect 0 vine run -i "$DIR/data:/usr/share/legacy-data" -i "$DIR/data/other:/usr/share/legacy-other" -- \
		sh -c 'cat "$VINE_ROOT/usr/share/legacy-data/table" "$VINE_ROOT/usr/share/legacy-other"; ls /usr/share >/dev/null'
	prints 'values
others'
	expect 0 vine run -i "$DIR/data:in/tree" -i "$DIR/data/other:in/file" -- cat in/tree/table in/file
	prints 'values
others'
	# What is not declared is the host's.
	expect 0 vine run -- cat "$DIR/undeclared"
	prints undeclared
	[ ! -e /legacy-code ] && [ ! -e /usr/share/legacy-data ] || fail "something was made on the host"
}
each_node places

views_only() {
	alone() { [ "$(grep -c 'not back in time' "$DIR/cluster.log")" = "$(grep -c 'the node is stopped' "$DIR/cluster.log")" ]; }
	poll 10 alone
	# Inputs in inputs, and in a directory with many names.
	expect 0 vine run -i "$DIR/data:/legacy-code" -i "$DIR/data:/legacy-code/sub/new/place" -i "$DIR/data/other:/legacy-code/sub/file" -- \
		cat /legacy-code/table /legacy-code/sub/new/place/table /legacy-code/sub/file /legacy-code/sub/deep/file
	prints 'values
values
others
deep'
	mkdir -p "$DIR/many"
	args=()
	for i in $(seq 100); do
		echo "$i" >"$DIR/many/$i"
		args+=(-i "$DIR/many/$i:/legacy-code/many/$i")
	done
	expect 0 vine run "${args[@]}" -- sh -c 'cat /legacy-code/many/* | wc -l'
	prints 100
	# Without a view it sees the host's paths alone, and its inputs below VINE_ROOT.
	expect 0 vine run --view none -i "$DIR/data:$data" -- sh -c '[ ! -e /legacy-code ] && cat "$VINE_ROOT$1/table"' sh "$data"
	prints values
	expect 125 vine run -i "$DIR/data:/proc/data" -- true
	contains "$DIR/err" "nothing can be declared there"
	# What no node could show is the task's failure, and no node rests for it.
	expect 125 vine run -i "$DIR/data:$DIR" -- true
	contains "$DIR/err" "the node's own directory lies in it"
	expect 125 vine run -i "$DIR/data:$state/s" -- true
	contains "$DIR/err" "it lies in the node's own directory"
	ln -sfn /nowhere "$DIR/dangling"
	expect 125 vine run -i "$DIR/data:$DIR/dangling/x" -- true
	contains "$DIR/err" "what it declared cannot be there"
	expect 125 vine run -o "$DIR/*/secret:temp:found:pattern" -- true
	contains "$DIR/err" "what the node keeps from tasks may be meant by it"
	expect 0 vine run -- true
	if grep "given no tasks" "$DIR/${state##*/}.log"; then fail "the node rests for a task's own fault"; fi
}
each_node views_only views
