# SPDX-License-Identifier: Apache-2.0
# Another MINOR works both ways, another MAJOR is refused with both versions in the text, an unknown type is answered "unknown".
. "$SRC/tests/system/lib.sh"

start_vined cluster
socket=$(field cluster socket)
hello "$socket" 1 0 >"$DIR/same"
contains "$DIR/same" "HELLO major=1"
hello "$socket" 1 99 60000 >"$DIR/newer"
contains "$DIR/newer" "HELLO major=1"
contains "$DIR/newer" "STATUS"
contains "$DIR/newer" "unknown"
hello "$socket" 2 0 >"$DIR/major"
grep -q 'BYE.*protocol 2 .*not our 1 .*final=yes' "$DIR/major" || fail "no refusal that names both: $(cat "$DIR/major")"
contains "$DIR/cluster.log" "protocol 2"
expect 0 vine status
