# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# vine fetch: by task and by name, over a crash of vined and of the node, and never half of it.
. "$SRC/tests/system/lib.sh"

start_vined cluster
address=$(field cluster address)
start_node n1 --cores=4
mkdir "$DIR/here"
cd "$DIR/here"
expect 0 vine run -J f -o a:temp:one -o b:temp:two -- sh -c 'echo 1 >a; mkdir b; echo 2 >b/c'
expect 0 vine run -J g -o a:temp:one -- sh -c 'echo other >a'
expect 0 vine run -J f -- true
expect 0 vine fetch 1
expect 0 vine fetch 1 deep/got/
expect 125 vine fetch 1 got
contains "$DIR/err" got/
[ "$(cat deep/got/*one deep/got/*a 2>/dev/null | head -n 1)" = 1 ] || fail "what came: $(ls -R)"
expect 125 vine fetch 3
contains "$DIR/err" "leaves nothing"
expect 125 vine fetch 99
expect 125 vine fetch temp:one
contains "$DIR/err" "-J"
expect 0 vine fetch -J g temp:one -
[ "$(cat "$DIR/out")" = other ] || fail "not g's: $(cat "$DIR/out")"
expect 125 vine fetch -J f temp:two -
contains "$DIR/err" directory

# Kept until it is forgotten.
expect 0 vine fetch -J g temp:one -
expect 125 vine forget temp:one
contains "$DIR/err" "-J"
expect 0 vine forget -J g temp:one
expect 125 vine fetch -J g temp:one -
expect 0 vine fetch temp:one -
[ "$(cat "$DIR/out")" = 1 ] || fail "not f's: $(cat "$DIR/out")"
expect 0 vine forget f
expect 125 vine fetch temp:one -
expect 125 vine forget f

# Slowly, so that there is something to interrupt: whoever reads takes it as it comes.
expect 0 vine run -o kept:temp:kept -- sh -c 'echo kept >kept'
expect 0 vine run -J big -o big:temp:big -- sh -c 'head -c 200M /dev/urandom >big; sha256sum <big'
cp "$DIR/out" "$DIR/sum"
mkfifo "$DIR/pipe"
vine fetch -J big temp:big - >"$DIR/pipe" 2>"$DIR/fetch.err" &
fetch=$!
exec 3<"$DIR/pipe"
head -c 50000000 <&3 >"$DIR/came"
crash cluster
start_vined cluster --listen="$address"
cat <&3 >>"$DIR/came"
exec 3<&-
wait $fetch || fail "over a crash of vined: $(cat "$DIR/fetch.err")"
sha256sum <"$DIR/came" | cmp "$DIR/sum" - || fail "over a crash of vined came something else"

# What was named stays so, also of a run that nobody named and that was over, and one crash more.
is_kept() { vine fetch temp:kept kept && [ "$(cat kept)" = kept ]; }
poll 30 is_kept
crash cluster
start_vined cluster --listen="$address"
poll 30 is_kept
expect 0 vine fetch -J big temp:big big
[ "$(sha256sum <big)" = "$(cat "$DIR/sum")" ] || fail "what was named before the crashes"

# Its only node is gone.
crash n1
joined() { vine status | grep -q connected; }
left() { ! joined; }
poll 60 left
expect 125 vine fetch -J big temp:big lost
contains "$DIR/err" temp:big
[ -z "$(ls -A | grep -e lost -e vine-)" ] || fail "half of it is left: $(ls -A)"
