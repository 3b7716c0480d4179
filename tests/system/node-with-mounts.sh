# SPDX-License-Identifier: Apache-2.0
# One node serves tasks and mounts from one cache: both outlive its vinefs, and a task reads from a mount while vinefs dies.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
start_vined cluster
start_node n1
export VINE_NODE=$DIR/n1
trap 'umount -l "$DIR/m" 2>/dev/null || :; on_exit' EXIT

mkdir "$DIR/a" "$DIR/m"
seq 1 1000000 >"$DIR/a/big"
expect 0 vine mount -q --sealed "$DIR/a" "$DIR/m"
worker=$(pgrep -P "$(cat "$DIR/n1/lock")" vinefs)
mkfifo "$DIR/begun"
vine run -- bash -c 'echo begun >"$1/begun"; until [ -e "$1/over" ]; do dd if="$1/m/big" iflag=nocache of=/dev/null count=0 status=none; cmp "$1/m/big" "$1/a/big" || exit; done' - "$DIR" >"$DIR/run.out" 2>&1 &
run=$!
read -r _ <"$DIR/begun"
kill -KILL "$worker"
again() { vine mount | grep -q "$DIR/m" && vine status | grep -q ' connected '; }
poll 20 again
cmp "$DIR/m/big" "$DIR/a/big"
touch "$DIR/over"
wait $run || fail "the task: $(cat "$DIR/run.out")"
expect 0 vine umount "$DIR/m"
expect 0 vine cache ls
contains "$DIR/out" "$DIR/a"
