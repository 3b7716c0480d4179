# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# The running vinefs is replaced by the program now installed, under readers: they see no error and the right bytes. One that does not run changes nothing.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
release=$(uname -r)
[ "$(printf '6.9\n%s\n' "$release" | sort -V | head -n 1)" = 6.9 ] || skip "kernel $release cannot resend (6.9 can)"
export VINE_NODE=$DIR/n
trap 'umount -l "$DIR/m" 2>/dev/null || :; on_exit' EXIT

# A copy of the program, so that another file can be put in its place.
program=$(command -v vinefs)
cp "$program" "$DIR/vinefs"
VINE_KEEPER=$(command -v vine-keeper || echo "${program%/*}/vine-keeper")
[ -x "$VINE_KEEPER" ] || VINE_KEEPER=${program%/*}/../libexec/vine/vine-keeper
export VINE_KEEPER
start n 'vinefs ready' "$DIR/vinefs" --state="$DIR/n" --vined=none

mkdir "$DIR/a" "$DIR/m"
for ((i = 0; i < 40; i++)); do head -c $((1 + i * 9000)) /dev/urandom >"$DIR/a/$i"; done
(cd "$DIR/a" && sha256sum * >"$DIR/sums")
expect 0 vine mount -q "$DIR/a" "$DIR/m"
# A hot set is of a tree, and the sealing gives way to readers.
poll 30 eval 'vine cache ls | grep -q "$DIR/a"'

# Each round drops the pages of the files, so that bytes are asked of vinefs while it is replaced.
read_all() { # NUMBER
	local name n=0
	until [ -e "$DIR/over" ]; do
		for name in "$DIR"/m/*; do dd if="$name" iflag=nocache count=0 status=none || return; done
		(cd "$DIR/m" && sha256sum --quiet -c "$DIR/sums") || return
		n=$((n + 1))
		echo $n >"$DIR/rounds.$1.new" && mv "$DIR/rounds.$1.new" "$DIR/rounds.$1"
	done
}
readers=()
for ((i = 0; i < 8; i++)); do
	read_all $i >"$DIR/reader.$i" 2>&1 &
	readers+=($!)
done
have_read() { # ROUNDS
	local i
	for ((i = 0; i < 8; i++)); do
		alive "${readers[i]}" || fail "reader $i: $(cat "$DIR/reader.$i")"
		[ "$(cat "$DIR/rounds.$i" 2>/dev/null || echo 0)" -ge "$1" ] || return 1
	done
}
poll 30 have_read 1

for ((i = 1; i <= 5; i++)); do
	old=$(vine node status)
	cp "$program" "$DIR/vinefs.new" && mv "$DIR/vinefs.new" "$DIR/vinefs"
	expect 0 vine node upgrade
	new=$(vine node status)
	[ "$old" != "$new" ] || fail "still $old"
	contains "$DIR/out" "$(grep -o 'pid [0-9]*' <<<"$old"), is replaced by vinefs"
	contains "$DIR/out" "$(grep -o 'pid [0-9]*' <<<"$new")"
	grep -q ' 1 mount$' <<<"$new" || fail "$new"
	expect 0 vine mount
	contains "$DIR/out" "$DIR/m"
done
rounds=$(cat "$DIR"/rounds.? | sort -n | tail -n 1)
poll 30 have_read $((rounds + 1))

# What does not run is not taken.
old=$(vine node status --json)
echo nonsense >"$DIR/vinefs.new"
chmod 755 "$DIR/vinefs.new"
mv "$DIR/vinefs.new" "$DIR/vinefs"
expect 125 vine node upgrade
contains "$DIR/err" "nothing was changed"
[ "$(vine node status --json)" = "$old" ] || fail "it was replaced by nonsense"

touch "$DIR/over"
for ((i = 0; i < 8; i++)); do
	wait "${readers[i]}" || fail "reader $i: $(cat "$DIR/reader.$i")"
	[ ! -s "$DIR/reader.$i" ] || fail "reader $i: $(cat "$DIR/reader.$i")"
done
! grep -q 'vine-keeper: vinefs' "$DIR/n.log" || fail "it did not go in order: $(cat "$DIR/n.log")"
# The order in which the tree was read is kept by a vinefs that goes, not only by one that saw the end of the mount.
[ -s "$DIR"/n/hot/* ] || fail "no hot set was saved"
rm "$DIR"/n/hot/*
cmp "$DIR/m/7" "$DIR/a/7"
stop n
[ -s "$DIR"/n/hot/* ] || fail "no hot set was saved at the node's end"
! mountpoint -q "$DIR/m" || fail "it is still mounted"
