# SPDX-License-Identifier: Apache-2.0
# What a person sees of the cache and may do to it.
. "$SRC/tests/system/lib.sh"

start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1" --cache-size=200M --scrub-rate=0
export VINE_NODE=$DIR/n1
json() { python3 -c 'import json,sys; print(eval(sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; }
resident() { vine cache show "$1" --json | json 'j["trees"][0]["resident"]'; }

for i in one two; do
	mkdir "$DIR/$i"
	for k in 1 2 3 4 5 6 7 8; do seq "$k" 200000 >"$DIR/$i/$k"; done
	echo "$i" >"$DIR/$i/name"
	find "$DIR/$i" -exec touch -hd '2001-02-03 04:05:06' {} +
	vine seal -q "$DIR/$i" --name "$i" >"$DIR/$i.id"
done
one=$(cat "$DIR/one.id")

expect 0 vine cache
contains "$DIR/out" "${one:0:12}"
contains "$DIR/out" "200 MiB"
expect 0 vine cache ls --json
[ "$(json 'len(j["trees"])' <"$DIR/out")" = 2 ] || fail "not two trees"
expect 0 vine cache du
expect 0 vine cache show one
contains "$DIR/out" "$one"
contains "$DIR/out" "$DIR/one"
expect 125 vine cache show nobody
expect 125 vine cache shaw
contains "$DIR/err" "ls, du, show"

# A pin holds; without it the bytes go, and come again from the source.
expect 0 vine cache pin one
expect 125 vine cache evict one
contains "$DIR/err" "unpin"
expect 0 vine cache unpin one
expect 0 vine cache evict one
contains "$DIR/out" "freed"
left=$(resident one)
expect 0 vine tree cat one/name
contains "$DIR/out" one
expect 0 vine why "$DIR/one/1"
contains "$DIR/out" "$DIR/one"
expect 0 vine why one --json
[ "$(json 'j["tree"]' <"$DIR/out")" = "$one" ] || fail "why speaks of another tree"
[ "$left" -lt "$(vine cache show two --json | json 'j["trees"][0]["size"]')" ] || fail "nothing was freed"

# Damage is found, and healed by the source.
expect 0 vine cache verify
contains "$DIR/out" "all is well"
file=$(find "$DIR/n1/cache/b" -type f -size +1M | head -n 1)
chmod 600 "$file"
printf 'damage' | dd of="$file" bs=1 seek=1000 conv=notrunc status=none
expect 1 vine cache verify
contains "$DIR/out" "damaged"
expect 0 vine cache verify
for k in 1 2 3 4 5 6 7 8; do
	expect 0 vine tree cat "two/$k"
	cmp "$DIR/out" "$DIR/two/$k"
done

# Limits.
expect 0 vine cache limit 100M
contains "$DIR/out" "100 MiB"
expect 125 vine cache limit much
expect 0 vine cache limit --json
[ "$(json 'j["quota"]' <"$DIR/out")" = $((100 << 20)) ] || fail "another limit"
