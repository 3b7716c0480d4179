# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# A source stalls: readers that are killed leave at once, an upgrade loses nobody who still waits, and what comes afterwards is right.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

release=$(uname -r)
[ "$(printf '6.9\n%s\n' "$release" | sort -V | head -n 1)" = 6.9 ] || skip "kernel $release cannot resend (6.9 can)"
export VINE_NODE=$DIR/n
trap 'umount -l "$DIR/fast" 2>/dev/null || :; on_exit' EXIT
mkdir "$DIR/src" "$DIR/fast"
for ((i = 0; i < 24; i++)); do head -c 300000 /dev/urandom >"$DIR/src/$i"; done
serve "$DIR/m" a="$DIR/src"
start n 'vinefs ready' vinefs --state="$DIR/n" --vined=none
tree=$(vine seal "$DIR/m/a" 2>/dev/null)
# Nothing is here any more, neither in the cache nor in memory, and the source says nothing. (To mount the path would seal it again.)
expect 0 vine cache evict "$tree"
for ((i = 0; i < 24; i++)); do dd if="$DIR/m/a/$i" iflag=nocache count=0 status=none; done
expect 0 vine mount -q "$tree" "$DIR/fast"
ask stall on

readers=()
for ((i = 0; i < 23; i++)); do
	cat "$DIR/fast/$i" >"$DIR/got.$i" 2>/dev/null &
	readers+=($!)
done
cat "$DIR/fast/23" >"$DIR/got.23" &
last=$!
waiting() { vine mount --json | grep -Eq "\"waiting\": ?$1\b"; }
poll 20 waiting 24
kill -KILL "${readers[@]}"
for ((i = 0; i < 23; i++)); do wait "${readers[i]}" 2>/dev/null || :; done
poll 20 waiting 1
expect 0 vine node upgrade
poll 20 waiting 1
ask stall off
wait $last || fail "who waited was lost by the upgrade"
cmp "$DIR/got.23" "$DIR/src/23"
for ((i = 0; i < 24; i++)); do cmp "$DIR/fast/$i" "$DIR/src/$i"; done
expect 0 vine umount "$DIR/fast"
stop n
