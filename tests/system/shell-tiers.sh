# SPDX-License-Identifier: Apache-2.0
# once
# vine shell where there are no views: a task's directory, its environment, and its inputs at VINE_ROOT.
. "$SRC/tests/system/lib.sh"

mkdir "$DIR/in" && echo original >"$DIR/in/file"
begun() { grep -qx begun "$DIR"/"$node"/s/*/out; }
task=0
export VINE_NODE
start_vined cluster
for tier in mount plain; do
	node=$tier
	VINE_NODE=$DIR/$node
	start_node $node --name=$node --cores=4 --tier=$tier
	rm -f "$DIR/go"
	vine run --env MARK=here -i "$DIR/in:/opt/seen" -- sh -c "echo mine >own; echo begun; until [ -e $DIR/go ]; do sleep 0.05; done" >"$DIR/task.out" 2>&1 &
	beside=$!
	task=$((task + 1))
	poll 20 begun
	expect 0 vine shell $task -- sh -c 'cat own "$VINE_ROOT/opt/seen/file"; echo $MARK'
	[ "$(cat "$DIR/out")" = $'mine\noriginal\nhere' ] || fail "tier $tier: $(cat "$DIR/out")"
	touch "$DIR/go"
	wait $beside || fail "tier $tier: the task ended with $?: $(cat "$DIR/task.out")"
	expect 9 vine run --env MARK=there -i "$DIR/in:/opt/seen" -- sh -c 'echo half >own; exit 9'
	task=$((task + 1))
	expect 3 vine shell $task -- sh -c 'cat own; echo $MARK; exit 3'
	[ "$(cat "$DIR/out")" = $'half\nthere' ] || fail "tier $tier: of one that failed: $(cat "$DIR/out")"
	stop $node
done
