# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS 8: the shared filesystem stalls, or answers with errors. Who does not need it goes on; who does gets an error at the deadline, with the reason
# logged once and told by `vine why`; what stalls never holds up other sources, other sealings, the commands, or the stop of the node.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
mkdir -p "$DIR/behind/a/small" "$DIR/behind/b" "$DIR/shared" "$DIR/other" "$DIR/ma" "$DIR/mo"
befalls() { # stall|EIO|ESTALE|nothing
	echo "$1" >"$DIR/faults.new" && mv "$DIR/faults.new" "$DIR/faults"
}
befalls nothing
shared() { exec "$BUILD/tests/system/mirror" "$DIR/shared" -f -o source="$DIR/behind",faults="$DIR/faults",attr_timeout=0,entry_timeout=0,intr; }
shared &
mirror=$!
trap 'befalls nothing; umount -l "$DIR/ma" "$DIR/mo" "$DIR/shared" 2>/dev/null || :; on_exit' EXIT
poll 10 mountpoint "$DIR/shared"

head -c 6000000 /dev/urandom >"$DIR/behind/a/big"
for i in 1 2 3 4 5 6 7 8; do head -c 150000 /dev/urandom >"$DIR/behind/a/part$i"; echo "small $i" >"$DIR/behind/a/small/$i"; done
echo b >"$DIR/behind/b/file"
head -c 3000000 /dev/urandom >"$DIR/other/big"
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1" --read-deadline=3s
export VINE_NODE=$DIR/n1
rm -r "$DIR/n1/hot" && : >"$DIR/n1/hot" # no hot set is kept, which would bring bytes ahead
expect 0 vine seal -q "$DIR/shared/a" --name a
expect 0 vine seal -q "$DIR/other" --name other
expect 0 vine mount -q a "$DIR/ma"
expect 0 vine mount -q other "$DIR/mo"
empty() { # TREE MOUNT: neither the node nor the kernel has any of its bytes
	vine umount "$2" && vine cache evict "$1" >/dev/null && vine mount -q "$1" "$2"
}
# One file is here, all else is not.
expect 0 empty a "$DIR/ma"
expect 0 empty other "$DIR/mo"
cmp "$DIR/ma/part1" "$DIR/behind/a/part1"
names=$(find "$DIR/ma" | wc -l)

timed() { # STATUS CMD...: as expect; the time it took is left in $took
	local start=${EPOCHREALTIME/[.,]/}
	expect "$@"
	took=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
}
within() { # MSEC WHAT: far less than for ever, for a busy machine does nothing at once
	[ $took -le $(($1 * ${DEADLINE_FACTOR:-1})) ] || fail "$2 took $took ms, more than $1"
}

# It stalls, with more readers than it may have threads.
befalls stall
readers=()
for i in 2 3 4 5 6 7; do
	cat "$DIR/ma/part$i" >/dev/null 2>"$DIR/err.$i" & readers+=($!)
done
timed 0 cmp "$DIR/mo/big" "$DIR/other/big"
within 10000 "a file of another source"
timed 0 cmp "$DIR/ma/part1" "$DIR/behind/a/part1"
within 10000 "a file that is here"
[ "$(find "$DIR/ma" -ls | wc -l)" = "$names" ] || fail "names are missing"
mkdir "$DIR/third"
echo third >"$DIR/third/file"
timed 0 vine seal -q "$DIR/third"
within 10000 "sealing elsewhere"
timed 0 vine cache ls
within 10000 "vine cache ls"
why_says() { vine why "$2" >"$DIR/why" && grep -qF -e "$1" "$DIR/why"; }
poll 20 why_says 'its filesystem stalls' "$DIR/ma/part2"
contains "$DIR/why" "$DIR/shared/a"
for pid in "${readers[@]}"; do ! wait $pid || fail "it read something"; done
for i in 2 3 4 5 6 7; do contains "$DIR/err.$i" 'Input/output error'; done
[ "$(grep -cE "$DIR/shared/a (has not answered for|was not read in)" "$DIR/n1.log")" = 1 ] || fail "the reason was not logged once: $(cat "$DIR/n1.log")"
# Who comes later waits as long, no longer, and the commands still tell.
timed 1 cat "$DIR/ma/small/1"
contains "$DIR/err" 'Input/output error'
[ $took -ge 2000 ] || fail "it gave up after $took ms"
within 10000 "the deadline of a read"
expect 0 vine why "$DIR/ma/small/1"
contains "$DIR/out" 'has not answered for'
# In the foreground: a second signal, to the group, would end what LeakSanitizer has at work at an exit, and that would wait for ever.
timed 124 timeout --foreground 1 vine seal -q "$DIR/shared/b"
timed 0 vine seal -q --refresh "$DIR/third"
within 10000 "sealing elsewhere, beside one that stalls"

# It answers again.
befalls nothing
poll 10 cmp "$DIR/ma/part2" "$DIR/behind/a/part2"
cmp "$DIR/ma/big" "$DIR/behind/a/big"
diff -r "$DIR/ma" "$DIR/behind/a"
expect 0 vine seal -q "$DIR/shared/b"
contains "$DIR/n1.log" "$DIR/shared/a answers again"
expect 0 vine why "$DIR/ma/small/1"
! grep -q 'last error' "$DIR/out" || fail "an error that is over is still told: $(cat "$DIR/out")"

# It answers with errors.
for each in EIO ESTALE; do
	expect 0 empty a "$DIR/ma"
	befalls $each
	lines=$(wc -l <"$DIR/n1.log")
	timed 1 cat "$DIR/ma/big"
	within 10000 "an error"
	contains "$DIR/err" 'Input/output error'
	expect 1 cat "$DIR/ma/big"
	expect 1 cat "$DIR/ma/big"
	[ "$(tail -n +$((lines + 1)) "$DIR/n1.log" | grep -c "$DIR/shared/a")" = 1 ] || fail "$each was not logged once: $(tail -n +$((lines + 1)) "$DIR/n1.log")"
	expect 0 vine why "$DIR/ma/big"
	contains "$DIR/out" "$DIR/shared/a"
	grep -q "last error: $DIR/shared/a.*: \(Input/output error\|Stale file handle\) (20..-.* UTC)" "$DIR/out" || fail "vine why: $(cat "$DIR/out")"
	[ "$(find "$DIR/ma" -ls | wc -l)" = "$names" ] || fail "names are missing"
	befalls nothing
	diff -r "$DIR/ma" "$DIR/behind/a" || fail "it did not recover from $each"
done
# A node that is stopped does not wait for it.
expect 0 empty a "$DIR/ma"
befalls stall
cat "$DIR/ma/part3" 2>"$DIR/err.3" & reader=$!
poll 20 why_says 'on the way' "$DIR/ma/part3"
start=${EPOCHREALTIME/[.,]/}
stop n1
took=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
within 9000 "stopping the node" # which leaves without its sources after 2 s
! wait $reader || fail "it read something"
echo "the node ended after $took ms"
befalls nothing
umount "$DIR/shared"
wait $mirror || : # a signal that was to interrupt a request may come last
trap on_exit EXIT
