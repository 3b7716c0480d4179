# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# FAULTS row 5: EDQUOT, ENOSPC and EIO from fallocate and pwrite64 of the running vinefs: no reader gets an error or a wrong byte, a
# sealing that fails says why, and when the disk is good again it is noticed, and used.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

command -v strace >"$DIR/found" || skip "no strace"
resident() { vine cache show "$1" --json | json 'j["trees"][0]["resident"]'; }
is_well() { vine cache ls --json | json 'j["sick"]' | grep -qx False; }
small_disk 120M
node
size=$((12 << 20))
declare -A id
seal() { # NAME
	make_tree "$DIR/$1" 8 4
	mkdir "$DIR/m/$1"
	expect 0 vine seal -q "$DIR/$1" --name $1
	id[$1]=$(cat "$DIR/out")
}

seal here
for error in EDQUOT ENOSPC EIO; do
	away=away-$error
	seal $away
	expect 0 vine cache evict $away
	make_tree "$DIR/$error" 8 4
	# Mounted before: where the keeper's memory is written, too, the same calls are made.
	for each in here $away; do expect 0 vine mount -q "${id[$each]}" "$DIR/m/$each"; done
	[ "$(resident here)" = $size ] || fail "here is not here"
	[ "$(resident $away)" = 0 ] || fail "away is here: $(resident $away)"
	inject fallocate,pwrite64 error=$error
	diff -r "$DIR/here" "$DIR/m/here" || fail "$error: what is in the cache cannot be read"
	diff -r "$DIR/$away" "$DIR/m/$away" || fail "$error: what is at its source cannot be read"
	got=0
	vine seal "$DIR/$error" --name $error >"$DIR/seal.out" 2>&1 || got=$?
	# Whose disk it is, and not the source's; what is in use, free, and what to do.
	if [ $got != 0 ]; then
		contains "$DIR/seal.out" "$DIR/$error: the cache $DISK/cache"
		case $error in
		EIO) contains "$DIR/seal.out" "tried again by itself" ;;
		# From a disk that has room it is taken for a sickness, if it goes on for some seconds.
		ENOSPC) grep -q "tried again by itself" "$DIR/seal.out" || contains "$DIR/seal.out" "in use; its disk has" ;;
		*) contains "$DIR/seal.out" "in use; its disk has" && contains "$DIR/seal.out" "unmount or unpin" ;;
		esac
		! grep "^vine seal: $DIR/$error: Read-only" "$DIR/seal.out" || fail "what becomes of the cache is said of the path"
	fi
	[ $error != EIO ] || { vine cache ls >"$DIR/ls.out"; contains "$DIR/ls.out" "out of service since"; }
	expect 0 vine why $away
	contains "$DIR/out" "room: none for all of the tree"
	contains "$DIR/out" "next read: from the source"
	grep -q INJECTED "$DIR/strace" || fail "nothing was injected"
	inject_end
	for each in here $away; do expect 0 vine umount "$DIR/m/$each"; done
	poll 40 is_well
	expect 0 vine seal -q --refresh "$DIR/$away" --name $away
	[ "$(resident $away)" = $size ] || fail "$error is over, and a tree is not kept: $(resident $away)"
	expect 0 vine seal -q "$DIR/$error" --name $error
	for each in here $away $error; do read_all $each "$DIR/$each"; done
	expect 0 vine cache verify
	contains "$DIR/out" "all is well"
done
