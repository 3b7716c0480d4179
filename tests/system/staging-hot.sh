# SPDX-License-Identifier: Apache-2.0
# What a task on one node reads of a tree another one knows before it fetches it, and fetches first; where nobody knows, a task starts with its place, also
# when it asks for hot.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=n1 --feature=a
mkdir "$DIR/env"
for i in $(seq 300); do seq "$i" 3000 >"$DIR/env/$i"; done
head -c 30000000 /dev/urandom >"$DIR/env/large"
touch -d 2001-02-03 "$DIR"/env/* "$DIR/env"
expect 0 vine stage "$DIR/env" --nodes n1 --wait
id=$(ls "$DIR/n1/hot" | wc -l)
[ "$id" = 0 ] || fail "it was not read yet"

# Nobody knows what is read first.
expect 0 vine run --feature a --staging hot -i "$DIR/env" -- sh -c "cat '$DIR/env/7' '$DIR/env/3' '$DIR/env/250' >/dev/null; echo done"
contains "$DIR/out" done
poll 10 sh -c "[ \"\$(ls '$DIR/n1/hot' | wc -l)\" = 1 ]"
id=$(ls "$DIR/n1/hot")
[ "$(stat -c %s "$DIR/n1/hot/$id")" = 12 ] || fail "$(od -An -tu4 "$DIR/n1/hot/$id"): not three files"

# A node that has read nothing yet is told, as soon as vined has heard of it: one that began before goes by what it has read itself.
told() {
	[ $((++n)) -lt 8 ] || fail "$n nodes were not told"
	start_node n$n --name=n$n --feature=b$n
	vine run --feature b$n -i "$DIR/env" -- cat "$DIR/env/7" >"$DIR/said"
	[ "$(stat -c %s "$DIR/n$n/hot/$id" 2>/dev/null)" = 12 ]
}
n=1
until told; do :; done
cmp "$DIR/n1/hot/$id" "$DIR/n$n/hot/$id" || fail "another one"
