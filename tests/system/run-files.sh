# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What `vine run` gives a task and brings back: -i, -o, --stdin, and what it says when something is missing.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4 --name=n1
mkdir "$DIR/shared" "$DIR/here"
cd "$DIR/here"
echo input >"$DIR/shared/in"
mkdir -p "$DIR/shared/tree/sub"
echo leaf >"$DIR/shared/tree/sub/leaf"
echo local >local
output() { [ "$(cat "$DIR/out")" = "$1" ] || fail "the task printed: $(cat "$DIR/out")"; }

# An input lies where it lies, or where it is said to.
expect 0 vine run -i "$DIR/shared/in" -- cat "$DIR/shared/in"
output input
expect 0 vine run -i "$DIR/shared/in:/no/such/place/in" -i "$DIR/shared/tree:tree" -- sh -c 'cat "$VINE_ROOT/no/such/place/in" tree/sub/leaf'
output 'input
leaf'
expect 0 vine run -i local -- cat local
output local
# Read only, but for a copy of its own.
expect 1 vine run -i "$DIR/shared/tree:tree" -- sh -c 'echo changed >tree/sub/leaf || exit 1'
expect 0 vine run -i "$DIR/shared/tree:tree:rw" -- sh -c 'echo changed >tree/sub/leaf; rm -r tree/sub; ls tree'
[ "$(cat "$DIR/shared/tree/sub/leaf")" = leaf ] || fail "the shared file was changed"
expect 0 vine run --stdin "$DIR/shared/in" -- cat
output input
expect 0 vine run --stdin "$DIR/shared/in:/elsewhere/in" --umask 077 --home sandbox -- sh -c 'cat; umask; echo "$HOME" | grep -c home'
output 'input
0077
1'

# Outputs come here: to their own name, another, or into a directory.
expect 0 vine run -o out.txt -o tree:results/ -o deep/x:renamed -- sh -c 'echo 1 >out.txt; mkdir -p tree/a deep; echo 2 >tree/a/b; ln -s a/b tree/c; echo 3 >deep/x; chmod 640 deep/x'
[ "$(cat out.txt results/tree/c renamed | tr -d '\n')" = 123 ] || fail "what came: $(ls -lR)"
[ "$(stat -c %a renamed)" = 640 ] || fail "its mode is $(stat -c %a renamed)"
[ "$(readlink results/tree/c)" = a/b ] || fail "the link is not one"
# Again: a file takes the place of a file; a directory with something in it is left alone, and said before anything runs.
expect 0 vine run -o out.txt -- sh -c 'echo 4 >out.txt'
[ "$(cat out.txt)" = 4 ] || fail "the old one is still there"
expect 125 vine run -o tree:results/ -- sh -c "touch $DIR/shared/it-ran"
contains "$DIR/err" results/tree
[ ! -e "$DIR/shared/it-ran" ] || fail "it ran"

# Patterns, what may be missing, what is wanted of failures.
expect 0 vine run -o 'part-*:parts:pattern' -o nothing:optional -- sh -c 'for i in 1 2 3; do echo $i >part-$i; done'
[ "$(cat parts/part-2)" = 2 ] || fail "no part 2: $(ls -R parts)"
[ ! -e nothing ] || fail "nothing is there"
expect 7 vine run -o log:always -o core:failed -o result -- sh -c 'echo failed >log; echo dead >core; echo half >result; exit 7'
[ "$(cat log core)" = 'failed
dead' ] || fail "of the failure came: $(ls)"
[ ! -e result ] || fail "half a result came"
expect 1 vine run -o missing/one -- true
contains "$DIR/err" missing/one
[ ! -e missing/one ] || fail "nobody made that"

# What it wrote besides is named when it failed.
expect 3 vine run -- sh -c 'echo 1 >undeclared; exit 3'
contains "$DIR/err" undeclared

# Published: all at once, and readable under its path from then on; or it stays, for others and vine fetch.
expect 0 vine run -o "out:keep:$DIR/shared/published" -- sh -c 'echo published >out'
[ "$(cat "$DIR/shared/published")" = published ] || fail "not published: $(ls -l "$DIR/shared")"
expect 0 vine fetch "keep:$DIR/shared/published" copy
cmp "$DIR/shared/published" copy || fail "vine fetch brought another one"
expect 0 vine run -J chain -o t:temp:middle -- sh -c 'echo middle >t'
expect 0 vine run -J chain -i temp:middle:m -- cat m
output middle
expect 0 vine fetch temp:middle
[ "$(cat middle)" = middle ] || fail "vine fetch brought $(cat middle)"
expect 0 vine fetch -J chain temp:middle -
output middle
expect 125 vine fetch temp:no-such-thing
contains "$DIR/err" temp:no-such-thing

# 124 of its own.
expect 124 vine run -t 300ms -- sleep 60

# A job file, and words that count more.
printf 'output = "table"\numask = 027\ntag = "from the file"\n' >job
expect 0 vine run --job job --umask 077 -- sh -c 'umask; echo t >table'
output 0077
[ "$(cat table)" = t ] || fail "the job's output did not come"
