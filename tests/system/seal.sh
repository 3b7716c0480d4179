# SPDX-License-Identifier: Apache-2.0
# A directory becomes a tree: the same one whenever it is the same, and nothing is read twice. What is in it comes out again, equal.
. "$SRC/tests/system/lib.sh"

start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1

attributes() { (cd "$1" && find . -printf '%P %y %m %s %T@ %l\n' | sed 's/^\(.* d [0-9]* \)[0-9]* /\1/' | sort); }

mkdir -p "$DIR/a/deep/er" "$DIR/a/empty"
seq 1 100000 >"$DIR/a/deep/big"
printf 'x' >"$DIR/a/deep/er/$(printf 'n%.0s' {1..255})"
printf 'y' >"$DIR/a/$(printf 'not\377utf8')"
ln -s ../nowhere "$DIR/a/deep/link"
ln "$DIR/a/deep/big" "$DIR/a/hard"
truncate -s 3M "$DIR/a/sparse"
: >"$DIR/a/nothing"
chmod 750 "$DIR/a/deep"
mkfifo "$DIR/a/fifo"
touch -d '2001-02-03 04:05:06.123456789' "$DIR/a/hard"
find "$DIR/a" -exec touch -hd '2001-02-03 04:05:06.123456789' {} +

expect 0 vine seal "$DIR/a" --name a
contains "$DIR/err" "fifo"
id=$(cat "$DIR/out")
[ ${#id} = 64 ] || fail "no id: $id"
rm "$DIR/a/fifo" && touch -d '2001-02-03 04:05:06.123456789' "$DIR/a"
expect 0 vine seal -q "$DIR/a"
[ "$(cat "$DIR/out")" = "$id" ] || fail "the same directory is another tree"

# What it looks like, and what it holds.
expect 0 vine tree ls a/deep
contains "$DIR/out" "link -> ../nowhere"
vine tree ls -R --json "$id" >"$DIR/json"
python3 -m json.tool "$DIR/json" >/dev/null || fail "no JSON"
expect 0 vine tree cat a/deep/big
cmp "$DIR/out" "$DIR/a/deep/big"
expect 0 vine tree cat "$DIR/a/deep/big"
cmp "$DIR/out" "$DIR/a/deep/big"
expect 125 vine tree cat a/deep/none
contains "$DIR/err" "a/deep/none: the tree has no such path"
expect 125 vine tree ls nobody
contains "$DIR/err" "vine seal PATH"

# Out again.
expect 0 vine tree export "${id:0:12}" "$DIR/b"
diff -r --no-dereference "$DIR/a" "$DIR/b"
attributes "$DIR/a" >"$DIR/a.list"
attributes "$DIR/b" >"$DIR/b.list"
diff "$DIR/a.list" "$DIR/b.list"
expect 125 vine tree export a "$DIR/b"

# Changes, said by name.
expect 0 vine tree check a "$DIR/a"
echo more >>"$DIR/a/nothing"
expect 1 vine tree check a "$DIR/a"
contains "$DIR/out" "M nothing"
other=$(vine seal -q "$DIR/a" --name a2)
[ "$other" != "$id" ] || fail "a changed directory is the same tree"
expect 1 vine tree diff a a2
contains "$DIR/out" "M nothing"
expect 1 vine tree diff a a2 --json
python3 -m json.tool "$DIR/out" >/dev/null || fail "no JSON"

# An archive and a file; and what is none of all that.
tar -C "$DIR/a" -czf "$DIR/a.tar.gz" .
expect 0 vine seal -q "$DIR/a.tar.gz" --name archive
expect 0 vine tree cat archive/deep/big
cmp "$DIR/out" "$DIR/a/deep/big"
python3 -c 'import shutil,sys; shutil.make_archive(sys.argv[1], "zip", sys.argv[2])' "$DIR/z" "$DIR/a/deep"
expect 0 vine seal -q "$DIR/z.zip" --name zip
expect 0 vine tree cat zip/big
cmp "$DIR/out" "$DIR/a/deep/big"
truncate -s -300 "$DIR/z.zip"
expect 125 vine seal -q "$DIR/z.zip"
contains "$DIR/err" "z.zip: "
expect 0 vine seal -q "$DIR/a/deep/big" --name file
expect 0 vine tree cat file
cmp "$DIR/out" "$DIR/a/deep/big"
expect 125 vine seal "$DIR/none"
contains "$DIR/err" "$DIR/none"
expect 125 vine seal "$DIR/a" --name 'bad name'
expect 125 env VINE_NODE="$DIR/elsewhere" vine seal "$DIR/a"
contains "$DIR/err" "vinefs --state="
