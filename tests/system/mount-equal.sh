# SPDX-License-Identifier: Apache-2.0
# once
# deadline: 360
# What is mounted equals what was sealed, in every attribute; it cannot be written; large directories list well.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/tree-lib"
. "$SRC/tests/system/mount-lib"

seed=${SEED:-$RANDOM}
echo "seed $seed"
python3 "$SRC/tests/system/random-tree.py" "$DIR/tree" "$seed"
mkdir "$DIR/many"
python3 - "$DIR/many" <<'PYTHON'
import os, sys
os.chdir(sys.argv[1])
for i in range(100000): os.close(os.open("entry-%d" % i, os.O_CREAT | os.O_WRONLY))
PYTHON
serve "$DIR/m" tree="$DIR/tree" many="$DIR/many"

list_tree "$DIR/tree" >"$DIR/want"
list_tree "$DIR/m/tree" >"$DIR/got"
[ "$(wc -l <"$DIR/want")" -gt 400 ] || fail "a small tree"
cmp "$DIR/want" "$DIR/got" || fail "attributes differ: $(diff "$DIR/want" "$DIR/got" | head -n 4)"
links() { find "$1" -type d -printf '%n %P\0' | sort -z | sha256sum; }
[ "$(links "$DIR/tree")" = "$(links "$DIR/m/tree")" ] || fail "directories have other link counts"
[ "$(packed_tree "$DIR/tree")" = "$(packed_tree "$DIR/m/tree")" ] || fail "contents differ"
# Again, from the kernel's memory, and from the middle of files.
[ "$(packed_tree "$DIR/tree")" = "$(packed_tree "$DIR/m/tree")" ] || fail "contents differ when read again"
find "$DIR/tree" -type f -size +50k -printf '%P\0' | while IFS= read -rd '' file; do
	cmp <(tail -c 40001 "$DIR/tree/$file") <(tail -c 40001 "$DIR/m/tree/$file") || fail "the end of $file differs"
done

for each in 'touch x' 'mkdir x' 'rmdir deep000' 'mv deep000 y' 'ln -s a x' 'chmod 700 deep000' 'chown 0 deep000' 'rm -rf deep000' 'truncate -s 0 deep000/x'; do
	! (cd "$DIR/m/tree" && $each) 2>"$DIR/err" || fail "$each: it was done"
	contains "$DIR/err" 'Read-only file system'
done
cmp <(list_tree "$DIR/m/tree") "$DIR/want" || fail "the tree was changed"

# Complete and without doubles while others look names up.
python3 - "$DIR/m/many" <<'PYTHON' &
import os, random, sys
for i in range(40000):
    try: os.stat("%s/entry-%d" % (sys.argv[1], random.randrange(120000)))
    except FileNotFoundError: pass
PYTHON
looker=$!
for each in 1 2 3; do
	find "$DIR/m/many" -type f -printf '%f\n' | sort >"$DIR/names"
	[ "$(uniq "$DIR/names" | wc -l)" = 100000 ] && [ "$(wc -l <"$DIR/names")" = 100000 ] || fail "a large directory lists badly"
done
wait $looker || fail "looking names up"
grep -c . "$DIR/m/many/entry-7" && fail "an empty file is not"
[ "$(number OPEN)" -le 1 ] && [ "$(number OPENDIR)" -le 1 ] || fail "opening is asked again"
[ "$(number READDIR || :)" = "" ] || fail "a listing without attributes"

# Warm, nothing is asked at all.
warm() { find "$DIR/m/tree" -printf '%s' >/dev/null; find "$DIR/m/tree" -type f -exec cat {} + >/dev/null; }
# A machine short of memory takes some of it back between: so one walk of several.
is_silent() {
	local before
	before=$(number requests)
	warm
	n_asked=$(($(number requests) - before))
	[ $n_asked -le 2 ]
}
warm
for ((i = 0; i < 8; i++)); do ! is_silent || break; done
[ $n_asked -le 2 ] || fail "$n_asked requests for a warm walk: $(ask numbers)"
! grep -i error "$DIR/serve.log" || fail "it complained"
