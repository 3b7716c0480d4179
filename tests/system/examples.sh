# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# The examples compile against what is installed, as a user would, and run.
. "$SRC/tests/system/lib.sh"

case "$(strings "$(command -v vined)" | grep -c -e __asan_init -e __tsan_init)" in
0) ;;
*) skip "an uninstrumented program cannot load an instrumented library" ;;
esac
start_vined cluster
start_node n1 --cores=4
library=$(find "$STAGE" -name libvineclient.so)
header=$(find "$STAGE" -name vine.h)
for source in "$SRC"/libvineclient/examples/*.c; do
	name=$(basename "$source" .c)
	gcc -Wall -Wextra -Werror -o "$DIR/$name" "$source" -I"${header%/*}" -L"${library%/*}" -lvineclient
	LD_LIBRARY_PATH=${library%/*} timeout 30 "$DIR/$name" >"$DIR/$name.out" 2>&1 || fail "$name: $(cat "$DIR/$name.out")"
	[ -s "$DIR/$name.out" ] || fail "$name said nothing"
done
