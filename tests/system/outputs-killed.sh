# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# FAULTS row 10, of outputs: vinefs is killed at each step between the end of a task and its ENDED, while it seals, takes files, writes beside a target, renames, cleans up. The keeper starts
# it again, it does what is left to do, and the task ends well, with all it left, once.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/disk-lib"

command -v strace >"$DIR/found" || skip "no strace"
S=$DIR/shared
mkdir "$S" "$DIR/src" "$DIR/src/d" "$DIR/work"
cd "$DIR/work"
start_vined cluster
n_killed=0 n_steps=0

renew() {
	head -c 300000 /dev/urandom >"$DIR/src/big"
	head -c 200000 /dev/urandom >"$DIR/src/d/large"
	head -c 3000 /dev/urandom >"$DIR/src/d/small"
	head -c 150000 /dev/urandom >"$DIR/src/kept"
	chmod 750 "$DIR/src/d/large"
	rm -f "$DIR/began" "$DIR/go"
}

ended() { killed "$before"; gone "$client"; }

check() { # WHAT
	local name
	cmp "$DIR/src/kept" "$S/kept" || fail "$1: what was kept"
	diff -r "$DIR/src/d" "$S/d" || fail "$1: the directory that was kept"
	[ "$(ls -A "$S" | tr '\n' ' ')" = "d kept " ] || fail "$1: beside it: $(ls -lA "$S")"
	# Killed after its task's end was told, it has just joined, and its trees are told by and by.
	poll 20 vine fetch "temp:big$n_steps" "$DIR/work/big"
	cmp "$DIR/src/big" "$DIR/work/big" || fail "$1: what stayed in the cluster"
	poll 20 vine fetch "temp:d$n_steps" "$DIR/work/d$n_steps"
	diff -r "$DIR/src/d" "$DIR/work/d$n_steps" || fail "$1: the directory"
	[ "$(stat -c %a "$DIR/work/d$n_steps/large")" = 750 ] || fail "$1: its mode"
	rm -r "$DIR/work"/*
	expect 0 vine cache verify
	contains "$DIR/out" "all is well"
}

step() { # CALL N: 1 if there was no such step
	local call=$1 n=$2 before status=0
	n_steps=$((n_steps + 1))
	renew
	start_node n1 --cores=2 --name=n1
	vine run -o "big:temp:big$n_steps" -o "d:temp:d$n_steps" -o "kept:keep:$S/kept" -o "e:keep:$S/d" -- \
		sh -c 'cp -a "$0/src/." . && cp -a d e && touch "$0/began"; until [ -e "$0/go" ]; do sleep 0.01; done' "$DIR" >"$DIR/run.out" 2>"$DIR/run.err" &
	client=$!
	poll 20 [ -e "$DIR/began" ]
	before=$(worker)
	inject "$call" "signal=SIGKILL:when=$n"
	touch "$DIR/go"
	poll 60 ended
	wait $client || status=$?
	[ $status = 0 ] || fail "$call $n: status $status: $(cat "$DIR/run.err"), $(tail -n 5 "$DIR/n1.log")"
	! grep -q ' +++ killed by SIGKILL' "$DIR/strace" || poll 10 killed "$before"
	inject_end
	check "$call $n"
	stop n1
	alive "$before" || [ -z "$(grep ' +++ killed by SIGKILL' "$DIR/strace")" ] || n_killed=$((n_killed + 1))
	grep -q ' +++ killed by SIGKILL' "$DIR/strace"
}

for call in linkat renameat rename renameat2 unlinkat mkdirat mkdir fchmod utimensat fsync ${SOAK:+pwrite64 openat ftruncate write}; do
	n=1
	while step $call $n; do
		n=$((n + ${STRIDE:-1}))
		[ $n -lt 60 ] || fail "no end of $call"
	done
	echo "$call: $((n - 1))"
done
[ $n_killed -gt 10 ] || fail "killed $n_killed times only"
