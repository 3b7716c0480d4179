# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# FAULTS row 10: vinefs is killed at each durable step of sealing, publishing, remembering, filling and evicting. The node comes back
# with the old or the new, without leftovers, with nothing damaged; the same again succeeds and gives the id that a node gives that was left in peace.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

command -v strace >"$DIR/found" || skip "no strace"
cache=$DISK/cache
start peace 'vinefs ready' vinefs --vined=none --state="$DIR/peace" --seal-threads=1
quiet_node() { node --scrub-rate=0 --seal-threads=1; }
quiet_node
mkdir "$DIR/large" "$DIR/small" "$DIR/m/it"
head -c 200000 /dev/urandom >"$DIR/large/file"
for i in 1 2 3; do head -c 9000 /dev/urandom >"$DIR/small/$i"; done
n_killed=0

renew() { # WHAT: another tree of the same shape; $id is what it must be
	n_renewed=$((n_renewed + 1))
	printf '%09d' $n_renewed | dd of="$(find "$DIR/$1" -type f | head -n 1)" conv=notrunc status=none
	find "$DIR/$1" -exec touch -hd "2001-02-03 04:05:06.$(printf %09d $n_renewed)" {} +
	id=$(VINE_NODE=$DIR/peace vine seal -q "$DIR/$1")
}
n_renewed=0

is_done() { killed "$before" || gone $action; }

step() { # CALL N COMMAND...: 1 if there was no such step
	local call=$1 n=$2 lived=0
	shift 2
	before=$(worker)
	inject "$call" "signal=SIGKILL:when=$n" "${paths[@]}"
	"$@" >"$DIR/action.out" 2>&1 &
	action=$!
	poll 20 is_done
	wait $action || lived=$?
	! grep -q ' +++ killed by SIGKILL' "$DIR/strace" || poll 10 killed "$before" # a step behind what was asked for
	if alive "$before"; then
		[ $lived = 0 ] || fail "$call $n: it was not killed, and failed: $(cat "$DIR/action.out")"
		inject_end
		return 1
	fi
	inject_end
	n_killed=$((n_killed + 1))
	# The keeper starts it again, but after many deaths not at once.
	crash n1
	quiet_node
	check_all "$call $n"
}

check_all() { # AFTER
	local found
	found=$(find "$cache/tmp" -type f; ls "$cache" | grep -vxE '[bpqst]|tmp|VERSION|node-id|catalog.db(-wal|-shm)?|sources') || :
	[ -z "$found" ] || fail "$1: leftovers: $found"
	expect 0 vine cache verify
	[ ! -s "$DIR/out" ] || contains "$DIR/out" "all is well"
}

sweep() { # WHAT CALL...: at each of its steps
	local what=$1 call n
	shift
	for call; do
		n=1
		while try_$what $call $n; do
			n=$((n + ${STRIDE:-1}))
			[ $n -lt 100 ] || fail "no end of $call"
		done
		swept+=" $call:$((n - 1))"
	done
	echo "$what ${shape-}:$swept"
	swept=
}
swept=

try_seal() { # CALL N
	local stepped=0
	renew $shape
	step $1 $2 vine seal -q "$DIR/$shape" --name $shape || stepped=1
	expect 0 vine seal -q "$DIR/$shape" --name $shape
	[ "$(cat "$DIR/out")" = "$id" ] || fail "$1 $2: another id: $(cat "$DIR/out"), not $id"
	expect 0 vine cache verify $shape
	return $stepped
}

try_evict() { # CALL N
	local stepped=0
	renew small
	expect 0 vine seal -q "$DIR/small" --name small
	step $1 $2 vine cache evict small || stepped=1
	expect 0 vine seal -q "$DIR/small" --name small
	[ "$(cat "$DIR/out")" = "$id" ] || fail "$1 $2: another id: $(cat "$DIR/out"), not $id"
	return $stepped
}

# By a reader of a mount, who waits for the next vinefs where the kernel can resend.
try_fill() { # CALL N
	local stepped=0 blob
	renew large
	touch "$DIR/large.mark"
	expect 0 vine seal -q "$DIR/large" --name large
	blob=$(find "$cache/b" -type f -size +150k -newer "$DIR/large.mark")
	expect 0 vine cache evict large
	paths=("$cache"/{p,b} "$cache/p/${blob##*/}".{part,map})
	expect 0 vine mount -q "$id" "$DIR/m/it"
	step $1 $2 cmp "$DIR/m/it/file" "$DIR/large/file" || stepped=1
	[ -z "$can_resend" ] || [ ! -s "$DIR/action.out" ] || fail "$1 $2: the reader: $(cat "$DIR/action.out")"
	umount -l "$DIR/m/it" 2>"$DIR/err" || : # with its keeper gone; else it is the mount's end
	expect 0 vine seal -q "$DIR/large" --name large
	[ "$(cat "$DIR/out")" = "$id" ] || fail "$1 $2: another id: $(cat "$DIR/out"), not $id"
	return $stepped
}
can_resend=$([ "$(printf '6.9\n%s\n' "$(uname -r)" | sort -V | head -n 1)" != 6.9 ] || echo yes)

many=$([ -n "${SOAK-}" ] && echo 1 || echo 4) # of the calls that are made very often all are swept in make soak

# ---- the data's files, and then the catalog's: each thread's calls are counted by themselves
for shape in large small; do
	paths=("$cache" "$cache"/{tmp,b,t,p} "$cache"/tmp/{0..9})
	sweep seal openat ftruncate fallocate fchmod mkdirat renameat write unlinkat
	STRIDE=$many sweep seal pwrite64
	paths=()
	sweep seal rename
	read_all $shape "$DIR/$shape"
done
shape=small
paths=("$cache/catalog.db" "$cache/catalog.db-wal")
STRIDE=$many sweep seal pwrite64 fdatasync
paths=("$cache/b")
sweep evict unlinkat
sweep fill fallocate pwrite64 fchmodat renameat unlinkat
for shape in large small; do read_all $shape "$DIR/$shape"; done

# ---- the start, with much to do: another boot, and leftovers
try_start() { # CALL N
	kill_all
	reboot
	echo 1 >"$cache/tmp/7"
	echo 1 >"$cache/p/7.part"
	: >"$DIR/strace"
	: >"$DIR/n1.out"
	strace -D -f -qq -o "$DIR/strace" "${paths[@]/#/-P}" -e "trace=$1" -e "inject=$1:signal=SIGKILL:when=$2" \
		vinefs --vined=none --state="$NODE" --cache="$cache" --scrub-rate=0 --seal-threads=1 >"$DIR/n1.out" 2>>"$DIR/n1.log" </dev/null &
	pid_of[n1]=$!
	came() { grep -q ' +++ killed by SIGKILL' "$DIR/strace" || grep -q '^vinefs ready' "$DIR/n1.out"; }
	poll 20 came
	local stepped=1
	! grep -q ' +++ killed by SIGKILL' "$DIR/strace" || stepped=0
	tracer=$(sed -n 's/^TracerPid:	//p' "/proc/${pid_of[n1]}/status")
	kill -KILL "$tracer" # it lets go
	poll 10 gone "$tracer"
	tracer=
	poll 20 vine cache
	n_killed=$((n_killed + 1 - stepped))
	check_all "$1 $2"
	return $stepped
}
shape=
paths=("$cache" "$cache"/{tmp,p} "$cache"/catalog.db{,-wal,-shm})
STRIDE=$many sweep start unlinkat pwrite64 fdatasync ftruncate
for shape in large small; do read_all $shape "$DIR/$shape"; done
echo "$n_killed kills"
[ $n_killed -gt 20 ] || fail "the sweep did not sweep"
kill_all
