# SPDX-License-Identifier: Apache-2.0
# vine submit, wait, status, why, logs, cancel: a sweep as one types it, job files, scripts, lines of a file.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4 --name=n1
mkdir "$DIR/here"
cd "$DIR/here"
printed() { [ "$(cat "$DIR/out")" = "$1" ] || fail "it printed: $(cat "$DIR/out"), not $1"; }

# The program and its parameters are words of the command that name files here: they are brought along. Task 7 fails.
printf '#!/bin/sh\ncat "$1" >"out.$2.json"\necho "err of $2" >&2\n[ "$2" != 7 ]\n' >model
chmod +x model
for i in 1 2 3 4 5 6 7 8 9 10; do echo "$i" >"params.$i.json"; done
sweep=(--array 1-10 -i './params.{i}.json' -o 'out.{i}.json' -c 1 --mem 20M --name sweep -- ./model 'params.{i}.json' '{i}')
expect 0 vine submit --dry-run "${sweep[@]}"
contains "$DIR/out" 'would submit 10 tasks'
contains "$DIR/out" 'input    model (./model'
contains "$DIR/out" "out.1.json -> keep:$PWD/out.1.json"
expect 125 vine status sweep
mv params.9.json elsewhere
expect 1 vine submit --dry-run "${sweep[@]}"
contains "$DIR/out" 'task 9: a file is missing here'
expect 125 vine submit "${sweep[@]}"
contains "$DIR/err" params.9.json
expect 125 vine wait sweep/1
mv elsewhere params.9.json
expect 0 vine submit "${sweep[@]}"
printed sweep
expect 1 vine wait sweep
contains "$DIR/err" '9 done, 1 failed: vine why sweep@failed'
[ "$(cat out.3.json)" = 3 ] && [ ! -e out.7.json ] || fail "left here: $(ls)"
# Its name is not taken twice by accident; added again, what has a key is not posted twice.
expect 125 vine submit "${sweep[@]}"
contains "$DIR/err" 'vine forget sweep'
expect 0 vine submit --add "${sweep[@]}"
expect 1 vine wait sweep
contains "$DIR/err" '9 done, 1 failed'
expect 0 vine status sweep
contains "$DIR/out" 'tasks    10: 9 done, 1 failed'
contains "$DIR/out" 'vine why sweep@failed'
expect 0 vine status --json sweep
contains "$DIR/out" '"failed": 1'
expect 0 vine why sweep/7
contains "$DIR/out" 'failed: exit status 1; on node n1'
contains "$DIR/out" '| err of 7'
contains "$DIR/out" 'next: vine logs'
expect 0 vine why sweep/3
contains "$DIR/out" 'ended well on node n1'
expect 0 vine logs sweep@failed
[ "$(cat "$DIR/err")" = 'err of 7' ] || fail "logs: $(cat "$DIR/err")"
expect 0 vine logs sweep/2-3
[ "$(grep -c '^==> task' "$DIR/out")" = 2 ] || fail "logs of two: $(cat "$DIR/out")"
expect 0 vine wait -q sweep/1-3
expect 0 vine why sweep
contains "$DIR/out" '(sweep/7) failed'
expect 0 vine why n1
contains "$DIR/out" 'node n1 is connected'
expect 0 vine logs -f --only err sweep/7
contains "$DIR/err" 'err of 7'
expect 125 vine submit --name 17 -- true
expect 125 vine why sweep/11
contains "$DIR/err" 'there is no such task'
expect 125 vine wait nosuch
contains "$DIR/err" "there is no run 'nosuch'"
expect 125 vine status sweep@fialed

# An array without files is one of vined's: many at once, one row. What waits says why; cancelling some leaves the others.
run=$(vine submit --array 1-6000 --name many -- sh -c 'test -e /no/such/file/{i} || exec sleep 1000')
[ "$run" = many ] || fail "its name: $run"
poll 10 sh -c 'vine status many@running | grep -q n1'
expect 0 vine status many
contains "$DIR/out" 'tasks    6000: 0 done, 4 running, 5996 waiting'
contains "$DIR/out" 'are full'
expect 0 vine why many/5999
contains "$DIR/out" 'others of its array go first'
expect 0 vine cancel many/20-30
printed 'many/20-30: 11 tasks cancelled'
expect 124 vine wait --timeout 100ms many
expect 0 vine cancel many@waiting
printed 'many@waiting: 5985 tasks cancelled'
# Waiting ends when others cancel; two may wait.
vine wait -q many &
one=$!
vine wait -q many &
two=$!
expect 0 vine cancel many
for waiter in $one $two; do
	status=0
	wait $waiter || status=$?
	[ $status = 125 ] || fail "waiting for what was cancelled ended with $status"
done
expect 0 vine status many@running
printed 'many@running: there is none'

# A run of somebody who comes back for its results: waiting for it leaves them to him.
vine run -J mine -- sleep 1000 >"$DIR/mine" 2>&1 &
mine=$!
poll 10 sh -c 'vine status mine@running | grep -q n1'
expect 124 vine wait --timeout 100ms mine
expect 0 vine cancel mine
expect 125 vine wait -q mine
wait $mine || :

# A script with its options, which need not be executable; a job file; a line each; the command as one text.
printf '#!/bin/sh\n#VINE -J scripted --tag x\n\necho "hello from $0 $1"\nexit 3\n' >job.sh
expect 0 vine submit job.sh arg
printed scripted
expect 3 vine wait -q scripted
expect 0 vine logs scripted
printed 'hello from job.sh arg'
cat >jobs.vine <<-'END'
	$data = params
	cores = 1
	[task a]
	wrap = echo a ${data} ${HOME:+home}
	[task b]
	array = 3-5
	command = cat ${data}.{i}.json
END
expect 0 vine submit --name jobs jobs.vine
expect 0 vine wait -q jobs
expect 0 vine logs jobs/a
printed 'a params home'
expect 0 vine logs jobs/b.4
printed 4
printf 'x y\nz\n' >lines
expect 0 vine submit --each lines -J each -- echo '<{}>' '{i}'
expect 0 vine wait -q each
expect 0 vine logs each/1
printed '<x y> 1'
expect 125 vine submit --each lines -- echo
contains "$DIR/err" 'write {} there'
expect 125 vine submit --array 5-1 -- echo
expect 125 vine submit --array 1-5 -o x -- true
contains "$DIR/err" 'write {i} in its name'
expect 127 vine submit ./nosuch
contains "$DIR/err" './nosuch: there is no such file here'
echo '[taks x]' >bad.vine
expect 125 vine submit bad.vine
contains "$DIR/err" 'line 1'

# vine run does the same with words, unless told not to; an output of that name is made, not brought.
expect 0 vine run -- cat params.3.json
printed 3
expect 1 vine run --no-files -- cat params.3.json
expect 0 vine run -- sh -c 'ls' sh params.3.json --x=params.4.json /etc/passwd ../here/model
printed 'params.3.json
params.4.json'
expect 0 vine run --dry-run -- cat params.3.json
contains "$DIR/out" 'input    params.3.json'
expect 0 vine run -o out.3.json -- sh -c 'test ! -e "$1" && echo new >"$1"' sh out.3.json
[ "$(cat out.3.json)" = new ] || fail "out.3.json: $(cat out.3.json)"

# Where nodes do not see this directory, what a task leaves stays in the cluster under its name, and what it needs is sent.
VINE_SECRET="$DIR/cluster/secret"
export VINE_SECRET
expect 0 env VINE="$(field cluster address)" vine submit -J far -o 'sub/{i}.txt' --array 1-2 -- sh -c 'mkdir sub; cat params.1.json >sub/{i}.txt' params.1.json
expect 0 vine wait -q far
expect 0 vine fetch -J far temp:sub/2.txt got
[ "$(cat got)" = 1 ] || fail "far left $(cat got)"
