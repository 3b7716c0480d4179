# SPDX-License-Identifier: Apache-2.0
# deadline: 180
# The examples compile against what is installed, by its pkg-config file, as a user would, and do what they say.
. "$SRC/tests/system/lib.sh"

case "$(strings "$(command -v vined)" | grep -c -e __asan_init -e __tsan_init || :)" in
0) ;;
*) skip "an uninstrumented program cannot load an instrumented library" ;;
esac
command -v pkg-config >/dev/null || skip "there is no pkg-config"
PKG_CONFIG_PATH=$(dirname "$(find "$STAGE" -name vine.pc)")
export PKG_CONFIG_PATH
# What was installed below another root than its prefix is found there.
[ -e "$(pkg-config --variable=includedir vine)/vine.h" ] || export PKG_CONFIG_SYSROOT_DIR=$STAGE
read -ra flags <<<"$(pkg-config --cflags --libs vine)"
LD_LIBRARY_PATH=$(dirname "$(find "$STAGE" -name libvineclient.so)")
export LD_LIBRARY_PATH
for source in "$SRC"/examples/*.c; do
	gcc -Wall -Wextra -Werror -o "$DIR/$(basename "$source" .c)" "$source" "${flags[@]}"
done
start_vined cluster
start_node n1 --cores=4

# A bag of tasks: each result once.
expect 0 "$DIR/bag" 1200 true
[ "$(sort -u "$DIR/out" | wc -l)" = 1200 ] || fail "$(sort -u "$DIR/out" | wc -l) results of 1200"
! grep -v ' exited 0 1$' "$DIR/out" || fail "a task did not end well, or ran twice"

# A chain: in order, by what they leave and read.
expect 0 "$DIR/chain" "$DIR/table"
contains "$DIR/out" "the sum of the squares of 1 to 100 is 338350"
[ "$(sort -n "$DIR/table" | tail -n 1)" = 10000 ] || fail "the table did not come back: $(cat "$DIR/table")"

# An event loop: what comes first is shown first, while standard input stays open.
mkfifo "$DIR/commands" "$DIR/go"
"$DIR/loop" <"$DIR/commands" >"$DIR/loop.out" 2>&1 &
loop=$!
exec 3>"$DIR/commands"
echo "cat $DIR/go; echo slow" >&3
echo "echo fast; exit 3" >&3
fast() { grep -q '^fast$' "$DIR/loop.out"; }
poll 30 fast
contains "$DIR/loop.out" "echo fast; exit 3: status 3"
! grep -q '^slow$' "$DIR/loop.out" || fail "the slow one came first"
: >"$DIR/go"
slow() { grep -q '^slow$' "$DIR/loop.out"; }
poll 30 slow
printf 'echo last' >&3
exec 3>&-
wait $loop || fail "loop: $(cat "$DIR/loop.out")"
contains "$DIR/loop.out" "last"

# Killed again and again, itself and the scheduler: each result is in the journal, once.
journal=$DIR/journal
printf '7 4' >"$journal" # a machine that went down may cut off a line
lines() { [ "$(grep -c . "$journal")" -ge "$1" ] || gone $client; }
for n in 1 20 40 60 80; do
	"$DIR/reattach" "$journal" >>"$DIR/reattach.out" 2>&1 &
	client=$!
	poll 30 lines $n
	if [ $n = 40 ]; then
		crash cluster
		start_vined cluster
	fi
	kill -KILL $client 2>/dev/null || :
	wait $client 2>/dev/null || :
done
expect 0 "$DIR/reattach" "$journal"
contains "$DIR/out" "all 100 results"
for ((i = 0; i < 100; i++)); do echo "$i $((i * i))"; done | sort >"$DIR/right"
sort "$journal" | diff "$DIR/right" - >&2 || fail "the journal is not what it should be"
