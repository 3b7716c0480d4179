# SPDX-License-Identifier: Apache-2.0
# deadline: 90
# once
# A real Slurm of three virtual nodes: an ordinary user's cluster in a job, nodes for a cluster that runs, and their end by every way in which jobs end.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/slurm-lib"
. "$SRC/tests/system/typed-lib"
. "$SRC/tests/system/ordinary-user"

script=$(type -P vine-nodes.sbatch)
expect 125 bash "$script" true
contains "$DIR/err" 'this is no job'
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
trap 'umount -l /dev/fuse /var/tmp || :; slurm_down; on_exit' EXIT
slurm_up 3 2

# ---- as the page says it
ip address add 10.9.0.1/32 dev lo
type_chapter "$SRC/doc/clusters.md" Slurm
are_over() { [ -z "$(squeue -h)" ]; }
poll 30 are_over
contains "$typed_home/empty/job.out" 'one more'
none_left() { ! ls /var/tmp/vine-0-* 2>/dev/null; }
none_left || fail "jobs have left $(ls /var/tmp)"

cd "$DIR/user"
nothing_left() { ! ls -d "$DIR"/user/vine-* 2>/dev/null; }
show() { sed 's/^/job: /' "$1" >&2; }

# ---- a cluster in a job
cat >"$DIR/user/work" <<'SH'
vine submit --array 1-6 --name work -- sh -c 'echo {i}; sleep 0.5'
vine wait work || exit 1
vine status --json >status.json
vine submit --wall-time 1h --name long -- true
vine why long >why
vine cancel long
vine run -- sh -c 'exit 7'
SH
is_over() { [[ "$(scontrol show job -o "$job")" == *"JobState=$1 "* ]]; }
job=$(as sbatch --parsable -t 5 -N 3 -c 2 --mem 1000 -o job1 "$script" --dir "$DIR/user" --cache "$DIR/user/kept" sh ./work)
has_begun() { [[ "$(scontrol show job -o "$job")" != *"JobState=PENDING "* ]]; }
poll 20 has_begun
slurm_note
poll 30 is_over FAILED
[[ "$(scontrol show job -o "$job")" == *'ExitCode=7:0'* ]] || fail "it does not end as its command: $(cat job1)"
for i in 1 2 3; do contains status.json "\"name\": \"n$i\""; done
[ "$(grep -c '"state": "connected"' status.json)" = 3 ] || fail "not three nodes: $(cat status.json)"
[ "$(grep -c '"cores": 2' status.json)" -ge 3 ] || fail "they do not offer what the job has: $(cat status.json)"
contains why 'no connected node stays as long'
contains job1 'work: 6 done'
nothing_left || fail "the job has left $(ls)"
[ -d kept/n2/cache ] || fail "the cache is not kept"

# ---- nodes for a cluster that runs
as_vined() { exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$DIR/home" vined "$@"; }
start cluster 'vined ready' as_vined --state="$DIR/user/cluster" --listen=127.0.0.1:0 --node-timeout=2s
address=$(field cluster address)
there() { as env VINE="$address" VINE_SECRET="$DIR/user/cluster/secret" vine status | grep "^$1  *connected"; }
away() { ! there "$1"; }

# ---- until the job ends: in time, as Slurm warns of it, or because somebody does not want it any more
attach() { # N OUTPUT
	job=$(as sbatch --parsable -t 5 -N "$1" -o "$2" "$script" --vined "$address" --secret "$DIR/user/cluster/secret" --dir "$DIR/user")
	poll 20 there "n$1"
	slurm_note
}
ask() { as env VINE="$address" VINE_SECRET="$DIR/user/cluster/secret" vine "$@"; }
attach 1 job3
# What runs there when the job ends runs again in the next one.
ask submit --name long -- sh -c "echo >>$DIR/user/began; until [ -e $DIR/user/go ]; do sleep 0.05; done" >"$DIR/run"
began() { [ "$(wc -l <began)" = "$1" ]; }
poll 10 began 1
as scancel --batch --signal=TERM "$job"
poll 20 is_over COMPLETED
nothing_left || fail "the job has left $(ls)"
attach 2 job4
poll 20 began 2
touch go
expect 0 ask wait long
as scancel "$job"
poll 20 is_over CANCELLED
poll 20 nothing_left
poll 10 away n2

# ---- until a command ends: only in the long form, since Slurm takes a second for each
if [ "${SOAK:-0}" != 0 ]; then
	expect 0 as salloc -t 5 -N 2 "$script" --vined "$address" --secret "$DIR/user/cluster/secret" --dir "$DIR/user" vine run -- printenv VINE_SANDBOX
	contains "$DIR/out" "$DIR/user/vine-65534-"
	poll 10 away n1
	nothing_left || fail "the job has left $(ls)"

	# One that is told of the end has its time for it.
	cat >"$DIR/user/stubborn" <<-'SH'
		trap 'kill $!; echo told; exit 5' TERM
		echo here
		vine run -- sh -c 'sleep 100' &
		wait
	SH
	job=$(as sbatch --parsable -t 5 -N 1 -o job5 "$script" --dir "$DIR/user" sh ./stubborn)
	poll 20 grep -q here job5
	slurm_note
	as scancel --batch --signal=TERM "$job"
	poll 30 is_over FAILED
	contains job5 told
	[[ "$(scontrol show job -o "$job")" == *'ExitCode=5:0'* ]] || fail "it does not end as its command: $(cat job5)"
	nothing_left || fail "the job has left $(ls)"
fi

# ---- why there are none
(umask 077 && head -c 32 /dev/zero | od -An -tx1 -v | tr -d ' \n' >wrong && chown 65534 wrong)
expect 125 as salloc -t 5 -N 2 "$script" --vined "$address" --secret "$DIR/user/wrong" --dir "$DIR/user" true
contains "$DIR/err" '1: '
contains "$DIR/err" 'no node has joined'
nothing_left || fail "the job has left $(ls)"
