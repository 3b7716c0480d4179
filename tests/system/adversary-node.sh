# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What an adversary found on the node's side: full disks, bent links, lost output, damaged files.
. "$SRC/tests/system/lib.sh"

start_vined cluster

# ---- a node without room says so, the task runs where there is room, and once
mkdir -m 700 "$DIR/full"
mount -t tmpfs -o size=8m,nr_inodes=200,mode=0700 tmpfs "$DIR/full"
start_node full --name=full
# One that runs has the sandbox that is kept for the next.
vine run -- sh -c "echo >$DIR/holds; until [ -e $DIR/ran ]; do sleep 0.05; done" &
holder=$!
poll 10 test -s "$DIR/holds"
for ((i = 0; i < 300; i++)); do : >"$DIR/full/f$i" || break; done 2>"$DIR/touch.err"
expect_refusal() { grep -q 'the node could not begin it: its sandbox: .*No space left on device' "$DIR/full.log"; }
vine run -- sh -c "echo \$VINE_ATTEMPT >>$DIR/ran; echo ran" >"$DIR/elsewhere" 2>"$DIR/elsewhere.err" &
elsewhere=$!
poll 10 expect_refusal
[ ! -e "$DIR/ran" ] || fail "it ran without a sandbox"
# Without views: in one a task cannot touch what its sandbox lies in.
start_node n1 --name=n1 --tier=plain --keep-failed=0s --keep-output=10s --keep-output-size=1M --reconnect=100ms
wait $elsewhere || fail "status $? of a task that a full node could not begin: $(cat "$DIR/elsewhere.err")"
contains "$DIR/elsewhere" ran
[ "$(wc -l <"$DIR/ran")" = 1 ] || fail "it ran $(wc -l <"$DIR/ran") times"
wait $holder || fail "status $? of the task that ran on the node as it was full"
stop full
umount "$DIR/full"

# ---- output beyond the limit is there for whoever hears of the end
expect 125 vinefs --state="$DIR/none" --keep-output=0s --vined="$VINE"
contains "$DIR/err" keep-output
# Whoever has to wait says so.
bytes() { vine run -- sh -c 'seq 300000; seq 300000 >&2' 2>&1 >"$DIR/bytes.$1" | grep -v 'waiting: ' | wc -c >"$DIR/bytes.$1.n"; }
for round in 1 2 3; do
	for i in 1 2 3 4; do bytes $i & pid[$i]=$!; done
	for i in 1 2 3 4; do
		wait ${pid[$i]}
		[ "$(wc -c <"$DIR/bytes.$i")" = 1988895 ] && [ "$(cat "$DIR/bytes.$i.n")" = 1988895 ] ||
			fail "round $round: output is lost: $(wc -c <"$DIR/bytes.$i") and $(cat "$DIR/bytes.$i.n") bytes"
	done
done

# ---- what a task puts in its sandbox's place is not followed
mkdir -p "$DIR/mine/cwd" "$DIR/mine/tmp"
echo thesis >"$DIR/mine/cwd/thesis"
head -c 100000 /dev/zero >"$DIR/mine/out"
vine run -- sh -c "rm -rf \$VINE_SANDBOX; ln -s $DIR/mine \$VINE_SANDBOX" >"$DIR/linked" 2>&1 || :
# The thread that deletes is done with it when it has deleted the next.
expect 0 vine run -- python3 -c 'import os
for i in range(3000):
	os.mkdir("d" * 100)
	os.chdir("d" * 100)'
only_kept() { ! ls -d "$DIR"/n1/s/*/cwd && [ -z "$(find "$DIR/n1/s" -maxdepth 1 -type l)" ]; }
poll 30 only_kept
[ "$(cat "$DIR/mine/cwd/thesis")" = thesis ] && [ -d "$DIR/mine/tmp" ] && [ -s "$DIR/mine/out" ] ||
	fail "something outside the sandbox was deleted"
[ ! -s "$DIR/linked" ] || ! cmp -s -n 1000 "$DIR/linked" "$DIR/mine/out" || fail "another file was taken for its output"

# ---- a working directory that is not there is named
vine run --chdir /no/such/place -- true >"$DIR/out" 2>"$DIR/err" && fail "it ran nowhere"
contains "$DIR/err" "directory /no/such/place: No such file or directory"

# ---- a record that is none costs a line, and an id that is none is refused
stop n1
kept=$(cat "$DIR/n1/node-id")
head -c 5000 /dev/urandom >"$DIR/n1/keeper.log"
start_node n1 --name=n1
contains "$DIR/n1.log" "keeper.log: 5000 bytes of 5000 are damaged and discarded"
expect 0 vine run -- true
stop n1
for id in zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz "$kept-" short ''; do
	printf %s "$id" >"$DIR/n1/node-id"
	expect 125 timeout 20 vinefs --state="$DIR/n1" --vined="$(field cluster address)" --secret="$DIR/cluster/secret"
	contains "$DIR/err" "n1/node-id is damaged, it holds no uuid: restore it, or remove it"
done
printf %s "$kept" >"$DIR/n1/node-id"
start_node n1 --name=n1

# ---- a node that is refused at each JOIN says so once
mkdir -m 700 "$DIR/copy"
cp "$DIR/n1/node-id" "$DIR/n1/cluster" "$DIR/copy/"
vinefs --state="$DIR/copy" --name=copy --reconnect=50ms --vined="$(field cluster address)" --secret="$DIR/cluster/secret" \
	2>"$DIR/copy.log" &
copy=$!
refused() { [ "$(grep -c 'copy' "$DIR/cluster.log")" -ge 1 ] && grep -q 'trying again' "$DIR/copy.log"; }
poll 10 refused
for ((i = 0; i < 5; i++)); do expect 0 vine run -- true; done
kill $copy
wait $copy || fail "the copy ended with status $?"
[ "$(grep -c 'trying again' "$DIR/copy.log")" = 1 ] || fail "said more than once: $(cat "$DIR/copy.log")"
