# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# A task begins before its input, which only another node has, is here as a whole: what it reads is asked for as it reads it; and waits while that node's vinefs is killed.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --name=n1 --feature=first
mkdir "$DIR/data" "$DIR/data/sub" "$DIR/said" # what lies beside an input that the host lacks is its task's own
for i in $(seq 300); do seq "$i" 3000 >"$DIR/data/sub/$i"; done
head -c 200000000 /dev/urandom >"$DIR/data/large"
find "$DIR/data" -exec touch -hd '2001-02-03' {} +
digest() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum); }
wanted=$(digest "$DIR/data")

queued() { vine status | grep -q "$1 queued"; }
read_all="cd $DIR/data && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
for i in second third; do
	SHOW="how status out reason" post 1 "in=$DIR/data" feature=$i sh -c "echo begun >$DIR/said/$i; $read_all" \
		>"$DIR/$i" 2>"$DIR/$i.err" &
	declare "$i=$!"
done
poll 20 queued 2
SHOW="how status reason" post 1 "in=$DIR/data" feature=first staging=full true >"$DIR/first" || fail "no task on n1"
contains "$DIR/first" "exited 0"
mv "$DIR/data" "$DIR/gone"

start_node n2 --name=n2 --feature=second
wait $second || fail "$(cat "$DIR/second.err")"
contains "$DIR/second" "exited 0 $wanted"

start_node n3 --name=n3 --feature=third
poll 20 test -e "$DIR/said/third"
kill -KILL "$(field n1 pid)"
wait $third || fail "$(cat "$DIR/third.err")"
contains "$DIR/third" "exited 0 $wanted"
