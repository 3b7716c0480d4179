# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# FAULTS row 8 for sealing: as many sealings as run together stand still on dead filesystems, and another path is sealed all the same.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

sources=()
for i in 1 2 3; do
	mkdir "$DIR/src$i"
	head -c 500000 /dev/urandom >"$DIR/src$i/file"
	sources+=("t$i=$DIR/src$i")
done
mkdir "$DIR/well"
echo well >"$DIR/well/file"
serve --deadline-msec=100000 "$DIR/m" "${sources[@]}"
ask stall on
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
stuck=()
for i in 1 2 3; do
	vine seal -q "$DIR/m/t$i" >"$DIR/stuck$i.out" 2>&1 &
	stuck+=($!)
done
at_least_reading() { [ "$(number waiting)" -ge 2 ]; }
poll 20 at_least_reading
expect 0 timeout 60 vine seal -q "$DIR/well"
for each in "${stuck[@]}"; do alive "$each" || fail "it did not stand still"; done
# What stood still goes on when its filesystem answers.
ask stall off
for each in "${stuck[@]}"; do wait "$each" || fail "a sealing that stood still was lost: $(cat "$DIR"/stuck*.out)"; done
