# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# A program that harms its inputs harms nobody: what it may only read it cannot write, and is told so; what it may write is a copy of its own. One that opens to write and
# only reads goes on. Outputs lie beside inputs, and where nobody has anything.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

start_vined cluster
mkdir -p "$DIR/data" "$DIR/here"
echo values >"$DIR/data/table"
echo others >"$DIR/data/other"
chmod 755 "$DIR"
legacy=$(command -v legacy)
data=/legacy-code/v1.2/data
cd "$DIR/here"

untouched() {
	[ "$(cat "$DIR/data/table" "$DIR/data/other")" = 'values
others' ] || fail "tier $tier, $who: the source was changed"
	[ "$(ls "$DIR/data")" = 'other
table' ] || fail "tier $tier, $who: in the source lies $(ls "$DIR/data")"
	# And so is what other tasks get.
	expect 0 vine run -i "$DIR/data:$data" -- sh -c "cat $root$data/*"
	prints 'others
values'
}

writes() {
	root=
	[ "$tier" = views ] || root='"$VINE_ROOT"'
	# Where nothing but its mode keeps root from writing, he has a copy of his own.
	if [ "$tier-$who" = plain-root ]; then
		expect 0 vine run -i "$DIR/data:$data" -- sh -c "$legacy harm $root"
	else
		expect 3 vine run -i "$DIR/data:$data" -- sh -c "$legacy harm $root"
		[ "$(grep -cE 'Read-only file system|Permission denied' "$DIR/out")" = 4 ] || fail "tier $tier, $who: it could write: $(cat "$DIR/out")"
	fi
	untouched
	expect 0 vine run -i "$DIR/data:$data:rw" -- sh -c "$legacy harm $root"
	prints 'append: done
truncate: done
rename: done
delete: done'
	untouched
	expect 0 vine run -i "$DIR/data:$data" -- sh -c "$legacy again $root"
	prints values
	expect 0 vine run -i "$DIR/data:$data:rw" -- sh -c "$legacy again $root"
	prints values
	# A single file of its own.
	expect 0 vine run -i "$DIR/data/table:$data/table:rw" -- sh -c "echo new >>$root$data/table; $legacy read $root"
	prints 'values
new'
	untouched
}
each_node writes

outputs() {
	rm -f renamed r.dat
	expect 0 vine run -i "$DIR/data:$data" -o "$data/renamed:renamed" -- "$legacy" beside
	[ "$(cat renamed)" = more ] || fail "what was made beside the input: $(cat renamed)"
	expect 0 vine run -o /legacy-results/deep/r.dat:r.dat -- sh -c 'echo result >/legacy-results/deep/r.dat'
	[ "$(cat r.dat)" = result ] || fail "the output is $(cat r.dat)"
	rm -f r.dat
	# Where the host has something it is seen, and nothing of it is changed.
	expect 0 vine run -o "$DIR/data/r.dat:r.dat" -- sh -c 'cat "$1/table" >"$1/r.dat"; [ ! -w "$1/other" ] || echo x >"$1/other"' sh "$DIR/data"
	[ "$(cat r.dat)" = values ] || fail "the output is $(cat r.dat)"
	untouched
	rm -f r.dat
	expect 0 vine run -o /tmp/r.dat:r.dat -- sh -c 'echo result >/tmp/r.dat'
	[ "$(cat r.dat)" = result ] || fail "the output is $(cat r.dat)"
}
each_node outputs views

# Why it failed is said.
hints() {
	expect 1 vine run -i "$DIR/data:$data" -- sh -c "echo x >$data/table || exit 1"
	contains "$DIR/err" ':rw'
	expect 5 vine run -i "$DIR/data:$data:rw" -- sh -c "echo x >$data/unexpected; exit 5"
	contains "$DIR/err" unexpected
}
each_node_as root hints views

# Its vinefs dies under it: the next one knows what it is to leave, and from where.
restart() {
	rm -f renamed "$DIR/signs/go" "$DIR/signs/begun"
	vine run -i "$DIR/data:$data" -o "$data/renamed:renamed" -o left.txt -- sh -c \
		"touch $DIR/signs/begun; until [ -e $DIR/signs/go ]; do sleep 0.1; done; $legacy beside >left.txt" >"$DIR/run.out" 2>&1 &
	local running=$! vinefs
	poll 20 test -e "$DIR/signs/begun"
	vinefs=$(field "$who-$tier" pid)
	kill -KILL "$vinefs"
	poll 20 gone "$vinefs"
	touch "$DIR/signs/go"
	wait $running || fail "tier $tier, $who: $(cat "$DIR/run.out")"
	[ "$(cat renamed left.txt)" = 'more
values
beside: done' ] || fail "tier $tier, $who: what came: $(cat renamed left.txt)"
	rm -f left.txt
}
mkdir -m 777 "$DIR/signs"
chmod 777 "$DIR/signs"
each_node restart views
