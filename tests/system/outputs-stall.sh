# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# FAULTS row 8, of outputs: a shared filesystem stands still while tasks put there what they made. Others go on, and put theirs elsewhere; it stands still for nobody but those, and when it answers again
# they are done.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
mkdir "$DIR/shared" "$DIR/behind" "$DIR/well"
: >"$DIR/faults"
"$BUILD/tests/system/mirror" "$DIR/shared" -f -o source="$DIR/behind",faults="$DIR/faults",attr_timeout=0,entry_timeout=0,intr &
mirror=$!
poll 10 mountpoint -q "$DIR/shared"
start_vined cluster
start_node n1 --cores=16 --name=n1
cd "$DIR"

expect 0 vine run -o "f:keep:$DIR/shared/first" -- sh -c 'echo first >f'
[ "$(cat "$DIR/behind/first")" = first ] || fail "nothing there"
echo stall >"$DIR/faults"
clients=()
for i in 1 2 3 4 5 6; do
	vine run -o "f:keep:$DIR/shared/$i" -- sh -c "touch $DIR/ran$i; echo $i >f" >"$DIR/client$i.out" 2>&1 &
	clients+=($!)
done
all_ran() { [ "$(ls -d "$DIR"/ran* | wc -l)" = 6 ]; }
poll 20 all_ran
for i in 1 2 3; do
	expect 0 timeout 30 vine run -o "f:keep:$DIR/well/$i" -o t:temp:t$i -- sh -c "echo $i >f; echo t >t"
	[ "$(cat "$DIR/well/$i")" = $i ] || fail "nothing in well/$i"
done
expect 0 timeout 30 vine fetch temp:t3 -
for each in "${clients[@]}"; do alive "$each" || fail "it did not stand still: $(cat "$DIR"/client*.out)"; done
[ "$(ls -A "$DIR/behind")" = first ] || fail "what is there: $(ls -A "$DIR/behind")"
: >"$DIR/faults"
for i in 1 2 3 4 5 6; do
	wait "${clients[i - 1]}" || fail "task $i: $(cat "$DIR/client$i.out")"
	[ "$(cat "$DIR/behind/$i")" = $i ] || fail "nothing in $i"
done
[ "$(ls -A "$DIR/behind" | tr '\n' ' ')" = "1 2 3 4 5 6 first " ] || fail "beside them: $(ls -A "$DIR/behind")"

# An error of it is the task's end, in its words.
echo EIO >"$DIR/faults"
expect 1 vine run -o "f:keep:$DIR/shared/never" -- sh -c 'echo 1 >f'
contains "$DIR/err" "$DIR/shared/never"
contains "$DIR/err" "Input/output error"
: >"$DIR/faults"
stop n1
umount "$DIR/shared"
wait $mirror || :
