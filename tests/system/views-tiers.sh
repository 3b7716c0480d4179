# SPDX-License-Identifier: Apache-2.0
# deadline: 300
# alone
# The same workload in each tier leaves the same; and when it is over nothing is left of it: no sandbox, no process, no mount, no descriptor.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

start_vined cluster
mkdir -p "$DIR/data/sub" "$DIR/results"
for i in $(seq 50); do echo "value $i" >"$DIR/data/sub/$i"; done
echo all >"$DIR/data/all"
chmod 755 "$DIR"

cat >"$DIR/one" <<'TASK'
#!/bin/sh
set -e
in=${VINE_ROOT%/}/legacy-code/data
[ -d "$in" ]
mkdir -p out
cat "$in/sub/$1" "$in/all" private >out/result
echo "$1" >>private
echo scratch >"$TMPDIR/scratch"
TASK
chmod 755 "$DIR/one"

one() { # N
	vine run -i "$DIR/data:/legacy-code/data" -i "$DIR/data/all:private:rw" -o "out/result:$DIR/results/$tier-$who/$1" -- "$DIR/one" "$1"
}
n_descriptors() { find "/proc/$1/fd" -maxdepth 1 -type l | wc -l; }
n_sandboxes() { find "$state/s" -mindepth 1 -maxdepth 1 -name "[0-9]*" | wc -l; }
is_clean() { [ "$(n_sandboxes)" = 0 ]; }
mounts_of() { wc -l <"/proc/$1/mountinfo"; }

# The keeper keeps one view of these inputs.
is_as_before() { [ $(($(n_descriptors "$keeper") - ${before% *})) -le 2 ] && [ "$(mounts_of "$keeper")" -le "${before#* }" ]; }
no_task() { [ "$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c '(one)')" = 0 ]; }

workload() {
	local i keeper=${pid_of[$who-$tier]} vinefs before all=()
	vinefs=$(field "$who-$tier" pid)
	mkdir "$DIR/results/$tier-$who"
	one 1 || fail "tier $tier, $who: the first task"
	rm "$DIR/results/$tier-$who/1"
	poll 20 is_clean
	before="$(n_descriptors "$keeper") $(mounts_of "$keeper")"
	local began=${EPOCHREALTIME/./}
	for i in $(seq 50); do
		one "$i" >"$DIR/$tier-$who.$i.out" 2>&1 &
		all+=($!)
		if [ $((i % 10)) = 0 ]; then
			wait "${all[@]}" || fail "tier $tier, $who: $(cat "$DIR/$tier-$who".*.out)"
			all=()
		fi
	done
	echo "50 tasks, 10 at once: $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
	for i in $(seq 50); do
		[ "$(cat "$DIR/results/$tier-$who/$i")" = "value $i
all
all" ] || fail "tier $tier, $who, task $i left: $(cat "$DIR/results/$tier-$who/$i")"
	done
	poll 20 is_clean
	echo "descriptors and mounts of the keeper: $before"
	poll 20 is_as_before
	poll 20 no_task
	[ "$(cat "$DIR/data/all")" = all ] || fail "the source was changed"
}
each_node workload
