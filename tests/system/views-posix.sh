# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# A task's working directory, and one beside inputs that it may write to, answer like the local filesystem; what is written there at random is read back.
. "$SRC/tests/system/lib.sh"
tool=$(command -v posix)
start_vined cluster
start_node n1

mkdir "$DIR/native" "$DIR/input"
echo given >"$DIR/input/given"
(cd "$DIR" && posix check native) >"$DIR/expected" || fail "the local filesystem"

compare() { # WHERE FILE
	diff "$DIR/expected" "$2" >"$DIR/difference" || fail "$1 differs from the local filesystem: $(cat "$DIR/difference")"
}
expect 0 vine run -i "$tool" -- "$tool" check .
compare "the working directory" "$DIR/out"
expect 0 vine run -i "$tool" -i "$DIR/input:rw" -- "$tool" check "$DIR/input"
compare "beside inputs" "$DIR/out"
[ "$(ls "$DIR/input")" = given ] || fail "a task wrote to its input: $(ls "$DIR/input")"
for seed in 1 2 3; do
	expect 0 vine run -i "$tool" -- "$tool" model . $seed 3000
	expect 0 vine run -i "$tool" -i "$DIR/input:rw" -- "$tool" model "$DIR/input" $seed 3000
done
