# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# A node that asks for more than it takes, by many connections: what is kept for it is bounded, it is sent away beyond that, and others get their trees all the same.
. "$SRC/tests/system/lib.sh"

resident() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(field n1 pid)/status"; }

start_vined cluster
start_node n1 --name=n1
mkdir "$DIR/many"
python3 -c 'import sys
for i in range(6000): open(f"{sys.argv[1]}/a-rather-long-name-{i}", "w").write(str(i))' "$DIR/many"
head -c 5000000 /dev/urandom >"$DIR/many/large"
expect 0 vine stage "$DIR/many" --nodes n1 --wait
rm -r "$DIR/many"
vti=$(echo "$DIR"/n1/cache/t/*.vti)
tree=${vti##*/} tree=${tree%.vti}
at=$(sed -n 's/.*find this one at //p' "$DIR/n1.log" | tail -n 1)
for what in watch parts index some chunks; do
	start_node $what --name=$what
	before=$(resident)
	start taker 'taker ready' taker "$at" "$DIR/cluster/secret" "$vti" $what 10 600
	# Who watches takes the place of other watchers, as long as he does.
	[ $what != watch ] || { grown=$(($(resident) - before)); crash taker; }
	expect 0 timeout $((40 * ${DEADLINE_FACTOR:-1})) vine stage "tree:$tree" --nodes $what --wait
	[ $what = watch ] || { grown=$(($(resident) - before)); crash taker; }
	[ "$grown" -lt 100000 ] || fail "$what: n1 took $grown kB for who takes nothing"
	stop $what
done
