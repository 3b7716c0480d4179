# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# once
# One line adds a field to the protocol, one line adds a setting: nothing else is edited.
. "$SRC/tests/system/lib.sh"

mkdir "$DIR/src"
cd "$SRC"
cp -r --parents common core vined tests/wire-doc.c "$DIR/src/"
cd "$DIR/src"
cc_flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O0 -I. "-I$BUILD")

sed -i '/^WIRE_END(ping)/i WIRE_FIELD(ping, text, mood, "how the sender feels")\nWIRE_FIELD(ping, u32, level, "of it")' common/wire.def
cat >use.c <<'C'
#include "common/wire.h"
#include <stdio.h>
int main(void)
{
	struct buf b = {0};
	struct wire_arena a = {0};
	struct wire_ping out = {.mood = "fine", .level = 42}, in;
	wire_encode(&b, WIRE_PING, 0, 0, &out);
	if (wire_decode(WIRE_PING, b.at + WIRE_HEAD_SIZE, b.n - WIRE_HEAD_SIZE, &in, &a) != 0)
		return 1;
	buf_consume(&b, b.n);
	wire_print(&b, WIRE_PING, &in);
	puts(buf_text(&b));
	buf_fini(&b);
	wire_arena_fini(&a);
	return 0;
}
C
libs=(common/base.c common/buf.c common/wire*.c common/digest*.c common/log*.c -lcrypto -pthread)
gcc "${cc_flags[@]}" use.c "${libs[@]}" -o use
./use | grep -q 'PING.*mood=.*fine.*level=42' || fail "printer or codec: $(./use)"
gcc "${cc_flags[@]}" tests/wire-doc.c "${libs[@]}" -o wire-doc
./wire-doc >protocol.md
contains protocol.md mood
contains protocol.md "how the sender feels"

echo 'CONF_SIZE(hat_size, 0, "4K", "1K", "1M", "how large a hat vined wears")' >>vined/settings.def
echo '#include "vined/settings.h"
extern char is_there[sizeof(((struct settings *)0)->hat_size)];' >struct.c
gcc "${cc_flags[@]}" -c struct.c -o struct.o
gcc "${cc_flags[@]}" -DLIBEXECDIR='""' -DBINDIR='""' -DSBINDIR='""' -DSYSCONFDIR='""' -DLOCALSTATEDIR='""' -DVERSION='"0"' \
	-DPACKAGE_VERSION='"0"' vined/*.c core/*.c common/*.c -lsqlite3 -lssl -lcrypto -pthread -o vined-hat
expect 0 ./vined-hat --help
contains "$DIR/out" "how large a hat vined wears"
expect 0 ./vined-hat --man
contains "$DIR/out" "how large a hat vined wears"
expect 125 ./vined-hat --hat-size=2M --state="$DIR/state"
contains "$DIR/err" "hat-size"
expect 125 env VINED_HAT_SIZE=tall ./vined-hat --state="$DIR/state"
contains "$DIR/err" "VINED_HAT_SIZE"
printf 'hat-size = 8K\nhat-sise = 8K\n' >conf
expect 125 ./vined-hat --config=conf --state="$DIR/state"
contains "$DIR/err" "conf:2"
contains "$DIR/err" "hat-size"
