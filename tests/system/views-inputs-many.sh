# SPDX-License-Identifier: Apache-2.0
# Many tasks, each with a file of its own and a tree that all share, some that fail: trees that nobody uses go, and nothing else stays: no mount, descriptor, sandbox or process; memory stays.
# deadline: 300
# once
. "$SRC/tests/system/lib.sh"

rounds=$([ -n "${SOAK-}" ] && echo 20 || echo 2)
each=150
mkdir -p "$DIR/data/tree"
for i in 1 2 3 4 5; do echo "$i" >"$DIR/data/tree/$i"; done
for ((i = 0; i < each; i++)); do echo "file $i" >"$DIR/data/$i"; done
find "$DIR/data" -exec touch -h -d '10 days ago' {} +
poll 10 sh -c "[ \$((\$(date +%s) - \$(stat -c %Z '$DIR/data/0'))) -gt 2 ]"
start_vined cluster
start_node n1 --name=n1 --cores=16

one() { # NUMBER
	[ "$(vine run -i "$DIR/data/$1:in" -i "$DIR/data/tree:tree" -- cat in tree/3)" = "file $1
3" ] || echo "task $1" >>"$DIR/wrong"
	if [ $(($1 % 10)) = 0 ]; then
		! vine run -i "$DIR/data/$1:in" -i "$DIR/data/no-$1" -- true 2>/dev/null || echo "no-$1" >>"$DIR/wrong"
		! vine run -i "node:/no/$1" -- true 2>/dev/null || echo "node $1" >>"$DIR/wrong"
	fi
}
round() {
	local i
	for ((i = 0; i < each; i += 10)); do
		for ((k = i; k < i + 10; k++)); do one $k & done
		wait $(jobs -p | grep -v "^${pid_of[cluster]}\$\|^${pid_of[n1]}\$")
	done
}
vinefs_pid() { pgrep -P "$(field n1 keeper)" -x vinefs; }
descriptors() { ls "/proc/$1/fd" | wc -l; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
children() { pgrep -P "$(field n1 keeper)" | wc -l; }
alone() { [ "$(children)" = 1 ]; }

round
poll 30 alone
keeper=$(field n1 keeper)
before="$(descriptors "$(vinefs_pid)") $(descriptors "$keeper") $(memory "$(vinefs_pid)") $(memory "$keeper")"
for ((r = 0; r < rounds; r++)); do round; done
poll 30 alone
read -r fds keeper_fds rss keeper_rss <<<"$before"
[ ! -e "$DIR/wrong" ] || fail "wrong: $(cat "$DIR/wrong")"
echo "before: $before; after: $(descriptors "$(vinefs_pid)") $(descriptors "$keeper") $(memory "$(vinefs_pid)") $(memory "$keeper")"
[ "$(descriptors "$keeper")" -le $((keeper_fds + 3)) ] || fail "the keeper's descriptors grow"
[ "$(descriptors "$(vinefs_pid)")" -le $((fds + 40)) ] || fail "vinefs' descriptors grow: $before"
[ "$(memory "$(vinefs_pid)")" -le $((rss * 3 / 2 + 8000)) ] || fail "vinefs' memory grows"
[ "$(memory "$keeper")" -le $((keeper_rss + 1000)) ] || fail "the keeper's memory grows"
