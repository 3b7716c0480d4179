# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# FAULTS rows 4, 10, 19: vinefs is killed, again and again, under tasks that read in their views: they see a pause and no error, what comes later sees the same trees, and nothing is left.
. "$SRC/tests/system/lib.sh"

release=$(uname -r)
[ "$(printf '6.9\n%s\n' "$release" | sort -V | head -n 1)" = 6.9 ] || skip "kernel $release cannot resend (6.9 can)"
kills=$([ -n "${SOAK-}" ] && echo 7 || echo 5)
data=$DIR/data
mkdir -p "$data/tree"
for ((i = 0; i < 400; i++)); do head -c 30000 /dev/urandom >"$data/tree/$i"; done
find "$data" -exec touch -h -d '10 days ago' {} +
poll 10 sh -c "[ \$((\$(date +%s) - \$(stat -c %Z '$data/tree/0'))) -gt 2 ]"
start_vined cluster
start_node n1 --name=n1 --cores=8
vinefs_pid() { pgrep -P "$(field n1 keeper)" -x vinefs; }
served() { [ "$(grep -c 'joined cluster .* tier views' "$DIR/n1.log")" -gt "$1" ]; }
# ---- before anything was attached: the same mount goes on
: >"$DIR/n1.log"
kill -KILL "$(vinefs_pid)"
poll 20 served 0
! grep 'Bad message' "$DIR/n1.log" || fail "a mount without trees was not taken up"

# The first to read is a draft's reader, the others a tree's.
cat >"$data/reader" <<'END'
cd "$1" || exit 3
touch "$2"
for ((round = 0; ; round++)); do
	for i in *; do
		cmp -s "$i" "$3/$i" || exit 4
	done
	[ ! -e "$4" ] || exit 0
done
END
readers=()
mkdir "$DIR/on"
for k in 1 2 3; do
	vine run -i "$data/tree:in" -- bash "$data/reader" in "$DIR/on/$k" "$data/tree" "$DIR/over" >"$DIR/reader.$k" 2>&1 &
	readers+=($!)
done
all_on() { [ "$(ls "$DIR/on" | wc -l)" = 3 ]; }
poll 30 all_on

for ((n = 1; n <= kills; n++)); do
	poll 10 vinefs_pid
	pid=$(vinefs_pid)
	kill -KILL "$pid"
	poll 10 gone "$pid"
	poll 20 served "$n"
done
# The program now installed takes over in order.
pid=$(vinefs_pid)
expect 0 env VINE_NODE="$DIR/n1" vine node upgrade
poll 10 gone "$pid"
poll 20 served $((kills + 1))
touch "$DIR/over"
for k in 0 1 2; do
	wait "${readers[k]}" || fail "reader $k ended with $?: $(cat "$DIR/reader.$((k + 1))")"
done
! grep -q "tier views cannot" "$DIR/n1.log" || fail "the tier was lost"
[ "$(grep -c "is not mounted any more" "$DIR/n1.log")" = 0 ] || fail "the mount was lost"
expect 0 vine run -i "$data/tree:in" -- cmp in/7 "$data/tree/7"

# A person may evict what no task uses.
id=$(VINE_NODE="$DIR/n1" vine cache ls | sed -n 's/^\([0-9a-f]\{8,\}\).*/\1/p' | head -n 1)
expect 0 env VINE_NODE="$DIR/n1" vine cache evict "$id"
expect 0 vine run -i "$data/tree:in" -- cmp in/9 "$data/tree/9"

# FAULTS row 20: one that hangs is let go of: readers get errors, never a hang, and their tasks are run again on the next mount.
cat >"$data/late" <<'END'
cd "$1" || exit 3
touch "$2"
until [ -e "$4" ]; do read -rt 0.1 <> <(:) || :; done
for i in *; do cmp -s "$i" "$3/$i" || { read -rt 10 <> <(:) || :; exit 4; }; done
echo again >>"$2"
END
cp -r "$data/tree" "$data/cold"
vine run -i "$data/cold:in" -- bash "$data/late" in "$DIR/on/4" "$data/cold" "$DIR/go" >"$DIR/reader.4" 2>&1 &
reader=$!
poll 30 test -e "$DIR/on/4"
kill -STOP "$(vinefs_pid)"
touch "$DIR/go"
poll 40 grep -q "was silent" "$DIR/n1.log"
wait $reader || fail "the reader under a mount that died was not run again: $? $(cat "$DIR/reader.4")"
contains "$DIR/n1.log" "it is run again"
[ "$(cat "$DIR/on/4")" = again ] || fail "it ended well twice"
stop n1
! grep -q "$DIR/n1" /proc/self/mounts || fail "a mount is left"
