# SPDX-License-Identifier: Apache-2.0
# What a person sees of `vine run`: output, exit statuses, errors.
# threaded
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=n1

expect 0 vine run -- echo hello
[ "$(cat "$DIR/out")" = hello ] || fail "hello did not come back alone: $(cat "$DIR/out")"
[ ! -s "$DIR/err" ] || fail "something on standard error: $(cat "$DIR/err")"

expect 7 vine run -- sh -c 'echo to-err >&2; exit 7'
contains "$DIR/err" to-err
expect 137 vine run -- sh -c 'kill -KILL $$'
expect 127 vine run -- /no/such/program
contains "$DIR/err" /no/such/program
touch "$DIR/not-executable"
expect 126 vine run -- "$DIR/not-executable"
contains "$DIR/err" not-executable
expect 125 vine run
expect 125 vine run --no-such-flag -- true
contains "$DIR/err" no-such-flag
expect 125 vine rnu -- true
contains "$DIR/err" run

# Words arrive as they are; the environment too, but for what is set here.
expect 0 vine run --env GREETING='a  b' -- sh -c 'printf "%s|" "$GREETING" "$@"' sh 'one  word' '*' "it's" ''
[ "$(cat "$DIR/out")" = "a  b|one  word|*|it's||" ] || fail "words were changed: $(cat "$DIR/out")"
expect 0 vine run --chdir / -- pwd
[ "$(cat "$DIR/out")" = / ] || fail "--chdir was not heeded"

# More output than travels with the result, both streams, byte for byte.
head -c 3000000 /dev/urandom >"$DIR/random"
expect 0 vine run -- sh -c "cat $DIR/random; cat $DIR/random >&2"
cmp "$DIR/random" "$DIR/out" || fail "standard output is not what was written"
cmp "$DIR/random" "$DIR/err" || fail "standard error is not what was written"

# A task has no descriptor of ours but its three.
expect 0 vine run -- ls /proc/self/fd
[ "$(wc -l <"$DIR/out")" -le 4 ] || fail "descriptors leak into tasks: $(cat "$DIR/out")"

expect 0 vine status
contains "$DIR/out" n1
expect 0 vine status --json
contains "$DIR/out" '"n1"'
