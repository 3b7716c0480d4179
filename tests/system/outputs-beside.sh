# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# Outputs that lie in an input's directory: what the task wrote is merged with what it did not touch, removed names stay away, and the input itself is as it was.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4 --name=n1 --tier="${TIER:-views}"
export VINE_NODE=$DIR/n1
mkdir -p "$DIR/work" "$DIR/data/d/sub" "$DIR/data/o" "$DIR/data/empty"
cd "$DIR/work"
D=$DIR/data
V="\$VINE_ROOT$D" # where tasks see it
echo same >"$D/d/same"
echo gone >"$D/d/gone"
echo old >"$D/d/changed"
echo hidden >"$D/o/hidden"
head -c 3000000 /dev/urandom >"$D/d/sub/large"
ln -s same "$D/d/link"
cp -a "$D" "$DIR/before"
intact() { diff -r "$DIR/before" "$D" || fail "the input was changed"; }

# A directory that is input and output.
expect 0 vine run -i "$D:rw" -o "$D/d:temp:d" -o "$D/o:temp:o" -o "$D/new/file:temp:f" -- sh -c "cd $V && rm d/gone && echo new >d/changed && echo more >d/more &&
	rm -r o && mkdir o && echo fresh >o/fresh && mkdir -p new && echo 1 >new/file && echo 2 >new/other && exec 3<>d/same"
intact
cp -a "$D" "$DIR/want"
rm -r "$DIR/want/d/gone" "$DIR/want/o/hidden"
echo new >"$DIR/want/d/changed"
echo more >"$DIR/want/d/more"
echo fresh >"$DIR/want/o/fresh"
expect 0 vine fetch temp:d got
diff -r "$DIR/want/d" got || fail "merged: $(ls -lR got)"
[ "$(readlink got/link)" = same ] || fail "a link"
[ "$(stat -c %Y got/sub/large)" = "$(stat -c %Y "$D/d/sub/large")" ] || fail "its time"
expect 0 vine fetch temp:o o
diff -r "$DIR/want/o" o || fail "replaced: $(ls -lR o)"
expect 0 vine fetch temp:f -
[ "$(cat "$DIR/out")" = 1 ] || fail "a new one: $(cat "$DIR/out")"

# A directory that the task did not touch, with one new name; a file that was not touched; a pattern over both.
expect 0 vine run -i "$D:rw" -o "$D/empty:temp:e" -o "$D/d/sub:temp:sub" -- sh -c "echo x >$V/empty/x; rm -r $V/o"
expect 0 vine fetch temp:e e
[ "$(cat e/*)" = x ] || fail "what is new: $(ls e)"
expect 0 vine fetch temp:sub sub
diff -r "$D/d/sub" sub || fail "what was not touched"
expect 0 vine run -i "$D:rw" -o "$D/d/sub/large:temp:large" -o "$D/d/[cm]*:temp:cm:pattern" -- sh -c "echo m >$V/d/m"
expect 0 vine fetch temp:large large
cmp large "$D/d/sub/large" || fail "what was not touched"
expect 0 vine fetch temp:cm cm
[ "$(cat cm/*)" = "old
m" ] || fail "by a pattern: $(ls cm)"

# What is updated: written to, replaced by another of its name as editors do, in the working directory and where it lies.
echo one >"$DIR/work/table"
expect 0 vine run -i table:rw -o table -- sh -c 'echo two >>table'
expect 0 vine run -i table:rw -o table -- sed -i s/one/1/ table
[ "$(cat table)" = "1
two" ] || fail "updated in the working directory: $(cat table)"
expect 0 vine run -i "$D/o/hidden:rw" -o "$D/o/hidden:temp:h" -- sh -c "sed -i s/hidden/seen/ $V/o/hidden && cat $V/o/hidden"
[ "$(cat "$DIR/out")" = seen ] || fail "the task saw $(cat "$DIR/out")"
expect 0 vine fetch temp:h -
[ "$(cat "$DIR/out")" = seen ] || fail "updated where it lies: $(cat "$DIR/out")"
expect 0 vine run -i "$D:rw" -o "$D:temp:all" -- sh -c "echo new >$V/d/changed"
expect 0 vine fetch temp:all all
[ "$(cat all/d/changed all/o/hidden)" = "new
hidden" ] || fail "a directory that is updated"
expect 1 vine run -i "$D/o/hidden:rw" -o "$D/o/hidden:temp:no" -- sh -c "rm $V/o/hidden"
contains "$DIR/err" "$D/o/hidden (temp:no) is missing"
expect 125 vine run -i table -o table -- true
contains "$DIR/err" 'an input that is updated is one with :rw'
intact

# What was removed is missing, and the name beside it is told; what was not declared is named.
expect 1 vine run -i "$D:rw" -o "$D/d/gone:temp:gone" -- sh -c "rm $V/d/gone"
contains "$DIR/err" "$D/d/gone (temp:gone) is missing"
expect 3 vine run -i "$D:rw" -- sh -c "echo 1 >$V/d/changed; rm $V/d/gone; echo >mine; exec 3<>$V/d/same; exit 3"
for each in "$D/d/changed" "$D/d/gone" mine; do contains "$DIR/err" "$each"; done
! grep -q "$D/d/same" "$DIR/err" || fail "what was opened and not written is named"
intact
