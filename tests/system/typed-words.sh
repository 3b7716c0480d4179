# SPDX-License-Identifier: Apache-2.0
# Words as they are typed: completion, --dry-run and --save, --json, selectors, what fingers know from sbatch, help.
. "$SRC/tests/system/lib.sh"

mkdir "$DIR/here"
cd "$DIR/here"
printed() { [ "$(cat "$DIR/out")" = "$1" ] || fail "it printed: $(cat "$DIR/out"), not $1"; }
json() { # EXPRESSION: of the object d that was printed
	python3 -c "import json, sys; d = json.load(open('$DIR/out')); sys.exit(0 if ($1) else 1)" || fail "not $1: $(cat "$DIR/out")"
}

# ---- a dry run starts nothing
echo data >input.txt
expect 0 vine run --dry-run -- cat input.txt
contains "$DIR/out" 'would be started on this machine'
contains "$DIR/out" 'sealed   1 input'
[ ! -e "$HOME/.local/state/vine/default" ] || fail 'the dry run has started a cluster'
expect 0 bash -c "vine completion --line 'vine status ' --breaks ''"
[ ! -e "$HOME/.local/state/vine/default" ] || fail 'completing has started a cluster'

# ---- what was typed, as a file that says the same
typed=(--array 1-3%2 -i 'input.txt:in {i}' -e 'A=a "b" #c' -t 1:30:00 --mem 20M --tag 'x y' --name saved -- sh -c 'cat "$1" # {i} ${HOME}' sh input.txt "it's")
expect 0 vine submit --save job.vine "${typed[@]}"
contains "$DIR/err" "next: vine submit $PWD/job.vine"
vine submit --dry-run "${typed[@]}" >typed.out
expect 0 vine submit --dry-run job.vine
cmp "$DIR/out" typed.out || fail "the file says something else: $(cat job.vine)"
expect 125 vine submit --save job.vine -- true
contains "$DIR/err" 'it is there already'
expect 0 vine submit --save wrapped.vine -c 2 --wrap 'echo "a\b" $HOME'
vine submit --dry-run -c 2 --wrap 'echo "a\b" $HOME' | sed 's/1 task .*/1 task/' >typed.out
vine submit --dry-run wrapped.vine | cmp - typed.out || fail "the file says something else: $(cat wrapped.vine)"
printf '[task a]\ncommand = echo a\n[task b]\ncommand = echo b\ncores = 2\n' >two.vine
expect 0 vine submit --save both.vine two.vine
vine submit --dry-run two.vine >typed.out
vine submit --dry-run both.vine | cmp - typed.out || fail "the file says something else: $(cat both.vine)"

# ---- JSON
expect 0 vine up --json
json 'd["cluster"] == "default" and d["nodes"] == 1'
expect 0 vine submit --json -J one --tag left -o made:temp:made -- sh -c 'echo made >made'
json 'd == {"run": "one", "tasks": 1}'
expect 0 vine wait --json one
json 'd["status"] == 0 and d["waited"][0]["done"] == 1'
expect 0 vine submit -J two --tag right -- sh -c 'exit 3'
expect 3 vine wait -q --json two/1
json 'd["status"] == 3 and d["waited"][0] == {"selector": "two/1", "done": 0, "failed": 1, "cancelled": 0, "running": 0, "waiting": 0, "held": 0}'
expect 0 vine cancel --json two one
json 'd["cancelled"][1] == {"selector": "one", "tasks": 0}'
expect 125 vine wait --json nosuch
printed ''

# ---- selectors are the same for all
for each in 1 one/1 one@done tag:left one@tag:left; do
	expect 0 vine fetch --json $each got/
	json 'd["fetched"][0]["item"] == "temp:made"'
	expect 125 vine inputs $each
	contains "$DIR/err" '--record'
	expect 125 vine shell $each
	contains "$DIR/err" 'has left nothing there'
	expect 0 vine logs $each
done
[ "$(cat got/made)" = made ] || fail "got: $(find got)"
expect 0 vine fetch temp:made -
printed made
for command in fetch inputs shell status why logs cancel wait; do
	expect 125 vine $command one@fialed
	contains "$DIR/err" 'RUN@failed or tag:WORD'
	expect 125 vine $command one/7
	contains "$DIR/err" 'one/7'
done
expect 0 vine status tag:nothing
expect 0 vine status tag:left
contains "$DIR/out" "1  one     1"
expect 0 vine run --record -J rec -- cat input.txt
expect 0 vine inputs --json rec/3
json 'd["task"] == 3 and type(d["inputs"]) == list'
printf 'x\ny\n' | vine submit --each - -J lines -- echo '{}' >/dev/null
expect 0 vine wait -q lines
expect 0 vine logs lines/2
printed y
expect 0 vine forget --json -J one temp:made
json 'd == {"forgotten": "one/temp:made"}'

# ---- a dry run asks who could take it
expect 0 vine run --dry-run -- cat input.txt
contains "$DIR/out" 'now      1 node: '
contains "$DIR/out" 'input.txt (input.txt, 5 B, a word of the command)'
expect 0 vine run --dry-run --json -- cat input.txt
json 'd["inputs"] == [{"path": "input.txt", "from": "input.txt", "sent": False, "word": True, "missing": False}] and d["nodes"][0]["could"] == "now"'
expect 1 vine submit --dry-run --json --array 1-3 -i 'nosuch.{i}' -- true
json 'd["missing"] == 3 and d["parts"][0]["tasks"] == 3'
expect 0 vine submit --dry-run -c 1000 -- true
contains "$DIR/out" 'never    1 node: '
contains "$DIR/out" 'it has'
expect 0 vine run --dry-run --feature nonsuch -- true
contains "$DIR/out" "no feature 'nonsuch'"
expect 1 vine run --dry-run -i nosuch.txt -- true
contains "$DIR/out" 'MISSING here'

# ---- completion, as bash asks for it
cat >complete.bash <<'BASH'
source <(vine completion bash)
complete_it() { # LINE: the replies, sorted
	COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
	read -ra COMP_WORDS <<<"$1"
	[[ $1 != *' ' ]] || COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	COMPREPLY=()
	_vine vine "${COMP_WORDS[COMP_CWORD]}" ""
	printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | tr '\n' ' '
}
complete_it "$1"
BASH
becomes() { [ "$(bash complete.bash "$1" 2>"$DIR/err")" = "$2" ]; }
completes() { # LINE REPLIES
	poll 10 becomes "$1" "$2" # at one TAB it gives up after 0.7 s, which a busy machine may take
}
completes 'vine subm' 'submit '
completes 'vine run --sen' '--send '
completes 'vine run --send ' 'auto no yes '
completes 'vine run --send=' 'auto no yes '
completes 'vine run --no-f' '--no-files '
completes 'vine run -i inp' 'input.txt '
completes 'vine run cat inp' 'input.txt '
completes 'vine tree di' 'diff '
completes 'vine status on' 'one '
completes 'vine status one@fa' '@failed '
# What the shell would obey is not put on its line.
vine submit --name 'odd$(touch${IFS}obeyed)' -- true >/dev/null
vine submit --name 'odd.run' -- true >/dev/null
completes 'vine status odd' 'odd.run '
touch 'odd$(x)'
completes 'vine why od' 'odd.run odd\$\(x\) '
rm 'odd$(x)'
completes 'vine completion ' 'bash zsh '
completes 'vine help sb' 'sbatch '
completes 'vine nosuch ' ' '
# What a shell would take for more than a word is quoted, or not offered.
: >'@f;x'
completes 'vine why @f' '@f\;x @failed '
expect 0 vine run -o 'm:temp:x;y' -- sh -c 'echo m >m'
completes 'vine fetch temp:x' ' '
rm '@f;x'
vine seal -q input.txt --name text >/dev/null
completes 'vine cache show te' 'text '
node=$(vine status --json | sed -n 's/.*"name": "\(.*\)".*/\1/p' | tail -n 1)
completes "vine why ${node:0:2}" "$node "

# ---- a stream is sealed as what it is
echo streamed | vine seal -q - --name stream >/dev/null
expect 0 vine tree cat stream
printed streamed
tar czf - input.txt | vine seal -q - --name packed >/dev/null
expect 0 vine tree cat packed/input.txt
printed data
expect 125 vine seal - </dev/null
contains "$DIR/err" 'nothing came'

# ---- what a task has written, and how it ended
expect 3 vine run --json -- sh -c 'printf "a\\0b\\n"; echo "\"err\"" >&2; exit 3'
json 'd["status"] == 3 and d["exit"] == 3 and d["how"] == "exited" and d["out"] == "a\ufffdb\n" and d["err"] == "\"err\"\n"'
task=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["task"])' "$DIR/out")
expect 0 vine logs --json --only err "$task"
json "d[0][\"task\"] == $task and d[0][\"err\"] == \"\\\"err\\\"\\n\" and \"out\" not in d[0]"
expect 125 vine logs --json -f "$task"
expect 125 vine run --json -- sh -c 'head -c 70000000 /dev/zero'
contains "$DIR/err" 'more than 64 MiB'
[ ! -s "$DIR/out" ] || fail "something was printed"

# ---- a tree has a name in inputs, too
expect 0 vine run -i tree:packed:here -- cat here/input.txt
printed data
expect 0 vine submit --dry-run -i "tree:packed:here" -- cat here/input.txt
contains "$DIR/out" "tree:$(vine cache ls --json packed | grep -o '[0-9a-f]\{64\}' | head -n 1)"
expect 125 vine run -i tree:nosuch:here -- true
contains "$DIR/err" 'no tree here has this id or name'

# ---- what fingers know
expect 0 vine run --cpus-per-task=1 --time 1:00 --job-name habit -n 1 -- true
expect 125 vine run -p long -- true
contains "$DIR/err" '--feature WORD'
expect 125 vine submit -o slurm-%j.out -- true
contains "$DIR/err" 'vine logs'
printf '#!/bin/sh\n#VINE --ntasks=1 --job-name=script\ntrue\n' >job.sh
expect 0 vine submit --dry-run job.sh
printf '#!/bin/sh\n#SBATCH --ntasks=1\ntrue\n' >old.sh
expect 0 vine submit --dry-run old.sh
contains "$DIR/err" '#VINE lines are'
expect 0 vine help exit
contains "$DIR/out" '128+N'
expect 0 vine help sbatch
contains "$DIR/out" '--partition'
expect 125 vine help selektors
contains "$DIR/err" "did you mean 'selectors'"
expect 0 vine down --json
json 'd == {"cluster": "default", "ended": True}'
