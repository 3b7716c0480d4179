# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS rows 8, 19, 20 for one mount: bytes that do not come, readers that are killed while they wait, a server that stands still.
# threaded
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

mkdir -p "$DIR/src/small" "$DIR/other"
head -c 20000000 /dev/urandom >"$DIR/src/big"
for i in 1 2 3 4 5 6; do echo "small $i" >"$DIR/src/small/$i"; done
cp "$(command -v cat)" "$DIR/src/program"
echo other >"$DIR/other/file"

SECONDS=0
serve --deadline-msec=1500 --threads=2 "$DIR/m" a="$DIR/src" b="$DIR/other"
# Held in memory, for a kernel that is short of it forgets what was read once.
python3 -c "
import ctypes, signal, sys
f = open('$DIR/m/b/file', 'rb')
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
at = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, f.fileno(), ctypes.c_long(0))
if libc.mlock(ctypes.c_void_p(at), ctypes.c_size_t(4096)): sys.exit('mlock: %d' % ctypes.get_errno())
open('$DIR/locked', 'w').close()
signal.pause()" & holder=$!
poll 10 test -e "$DIR/locked"
ask stall on
start=$(msec)
expect 1 cat "$DIR/m/a/small/1"
contains "$DIR/err" 'Input/output error'
took=$(($(msec) - start))
[ $took -ge 1400 ] && [ $took -lt $((10000 * ${DEADLINE_FACTOR:-1})) ] || fail "EIO after $took ms instead of 1500"
expect 1 cat "$DIR/m/a/small/2"
[ "$(grep -c 'did not come' "$DIR/serve.log")" = 1 ] || fail "a stalled pack was not logged once: $(cat "$DIR/serve.log")"
contains "$DIR/serve.log" 'a/small/1'
# What is in memory, and all names, stay usable.
[ "$(cat "$DIR/m/b/file")" = other ] || fail "another tree stalls too"
kill -KILL $holder
wait $holder 2>/dev/null || :
[ "$(find "$DIR/m/a" | wc -l)" = 10 ] || fail "names stall too"
ask stall off
[ "$(cat "$DIR/m/a/small/1")" = 'small 1' ] || fail "it did not recover"
cmp "$DIR/src/big" "$DIR/m/a/big"

ask fail on
expect 1 cat "$DIR/m/a/small/3"
contains "$DIR/err" 'Input/output error'
ask fail off
ask short on
expect 1 cat "$DIR/m/a/program"
contains "$DIR/err" 'Input/output error'
ask short off
cmp "$DIR/src/program" "$DIR/m/a/program"
ask later on
ask delay 20000
[ "$(cat "$DIR/m/a/small/3" "$DIR/m/a/small/4")" = "$(cat "$DIR/src/small/3" "$DIR/src/small/4")" ] || fail "late bytes are wrong"
stop serve

# Readers are killed while they wait: by a read, by reading ahead, by a page fault, by exec, and in several threads.
serve --deadline-msec=60000 "$DIR/m" a="$DIR/src"
ask stall on
[ -d "$DIR/m/a/small" ] || fail "no tree"
cat "$DIR/m/a/small/1" & readers=($!)
cat "$DIR/m/a/big" >"$DIR/copy" & readers+=($!)
python3 -c "import mmap, sys; f = open('$DIR/m/a/big'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); print(m[10000000])" & readers+=($!)
"$DIR/m/a/program" /dev/null & readers+=($!)
python3 -c "
import threading, os
def read(at): os.pread(os.open('$DIR/m/a/big', os.O_RDONLY), 100000, at)
for t in [threading.Thread(target=read, args=(k * 3000000,)) for k in range(1, 6)]: t.start()" & readers+=($!)
poll 10 at_least waiting 9
for pid in "${readers[@]}"; do
	start=$(msec)
	kill -KILL $pid
	wait $pid 2>/dev/null || :
	took=$(($(msec) - start))
	echo "a killed reader was gone after $took ms"
	[ $took -lt $((10000 * ${DEADLINE_FACTOR:-1})) ] || fail "a killed reader stayed for $took ms"
done
nobody_waits() { [ "$(number waiting)" = 0 ]; }
poll 2 nobody_waits
# A reader that joins another's page goes on when that one is killed.
cat "$DIR/m/a/big" >/dev/null & first=$!
poll 10 at_least waiting 1
cat "$DIR/m/a/big" >"$DIR/copy" & second=$!
kill -KILL $first
wait $first 2>/dev/null || :
ask stall off
wait $second || fail "the second reader failed"
cmp "$DIR/copy" "$DIR/src/big"
[ "$("$DIR/m/a/program" "$DIR/m/a/small/1")" = 'small 1' ] || fail "it did not recover"

# Told by whoever kills it.
ask stall on
cat "$DIR/m/a/small/5" 2>/dev/null & reader=$!
poll 10 at_least waiting 1
over() { ask fail-pid $reader >>"$DIR/failed"; gone $reader; }
poll 5 over # what is read ahead fails without a word, and is read again
grep -q 1 "$DIR/failed" || fail "no read of it"
! wait $reader || fail "its read was not failed"
[ "$(number waiting)" = 0 ] || fail "something waits"
ask stall off

# A server that stands still for a while: readers wait, nothing else.
ask later on
ask delay 0
stand_still
cat "$DIR/m/a/small/6" >"$DIR/six" & reader=$!
asleep() { grep -q 'State:.[SD]' "/proc/$reader/status"; }
poll 5 asleep
kill -CONT "$(server)"
wait $reader || fail "a reader failed over a pause"
[ "$(cat "$DIR/six")" = 'small 6' ] || fail "a wrong byte"
