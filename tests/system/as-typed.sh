# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# once
# What one types in a clean directory, with nothing started before: each line as it stands in the issue that asked for it.
. "$SRC/tests/system/lib.sh"

# What these lines name: an environment, a program that reads a path of its own, a model.
mkdir -p "$DIR/clean/data" "$HOME/env/bin"
printf '#!/bin/sh\necho "it says"\nexec sh "$@"\n' >"$HOME/env/bin/python"
chmod +x "$HOME/env/bin/python"
cd "$DIR/clean"
echo 'echo analysed' >analyse.py
echo 'data of run.cfg' >data/run.cfg
printf '#!/bin/sh\ncp "$2" result.txt\n' >legacy
printf '#!/bin/sh\ni=$(cat "$1")\necho "err of $i" >&2\nsed s/^/out/ "$1" >"out.$i.json"\n[ "$i" != 17 ]\n' >model
chmod +x legacy model
for i in $(seq 1000); do echo "$i" >"params.$i.json"; done
mkdir src
echo one >src/file

expect 0 vine run -- echo hello
[ "$(cat "$DIR/out")" = hello ] || fail "it said $(cat "$DIR/out")"

expect 0 vine run -i ~/env --dry-run -- ~/env/bin/python analyse.py
contains "$DIR/out" 'input    analyse.py'
expect 0 vine run -i ~/env -- ~/env/bin/python analyse.py
[ "$(cat "$DIR/out")" = 'it says
analysed' ] || fail "it said $(cat "$DIR/out")"

expect 0 vine run -i ./data:/panfs/proj/data -o result.txt -- ./legacy --config /panfs/proj/data/run.cfg
[ "$(cat result.txt)" = 'data of run.cfg' ] || fail "result.txt: $(cat result.txt)"

expect 0 vine submit --array 1-1000 -i ./params.{i}.json -o out.{i}.json -c 1 --mem 2G --name sweep -- ./model params.{i}.json
[ "$(cat "$DIR/out")" = sweep ] || fail "it said $(cat "$DIR/out")"

expect 1 vine wait sweep
contains "$DIR/err" '999 done, 1 failed'
[ "$(cat out.1000.json)" = out1000 ] || fail 'out.1000.json is not what the model made'
expect 0 vine status sweep
contains "$DIR/out" '1000: 999 done, 1 failed'
expect 0 vine why sweep/17
contains "$DIR/out" 'err of 17'
expect 0 vine logs sweep@failed
[ "$(cat "$DIR/err")" = 'err of 17' ] || fail "logs: $(cat "$DIR/err")"
expect 0 vine cancel sweep
contains "$DIR/out" 'sweep: 0 tasks cancelled'

expect 0 vine report sweep
[ -s "$(find . -name '*.html')" ] || fail "no report: $(ls -t | head -3)"

expect 0 vine cache du
# Here nothing lies at this path but what a task saw there.
expect 0 vine why /panfs/proj/data/run.cfg
contains "$DIR/out" 'is not there on this machine'
# It ran without --record, which is said with what to type; with it there is a list.
expect 125 vine inputs 17
contains "$DIR/err" '--record'
# Task 17 is over and ended well: nothing of it is left to be entered.
expect 125 vine shell 17
contains "$DIR/err" 'has left nothing there'

set -o pipefail
tar cf - src | vine seal - --name src >"$DIR/id" 2>"$DIR/err"
set +o pipefail
contains "$DIR/err" 'vine cache pin'
expect 0 vine tree ls src
contains "$DIR/out" src
expect 0 vine mount src ./mnt
# The directory is src as well as the tree of that name, and a path goes before a name.
[ "$(cat mnt/file 2>&1)" = one ] || fail "mnt: $(find mnt)"
expect 0 vine umount ./mnt
[ -z "$(find "$HOME/.local/state/vine/node" -name 'stdin-*')" ] || fail 'what came from standard input is left over'
expect 0 vine down
