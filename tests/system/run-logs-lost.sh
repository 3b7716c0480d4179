# SPDX-License-Identifier: Apache-2.0
# once
# A node dies while its output is read through vined: the reader hears it, vined goes on.
. "$SRC/tests/system/lib.sh"

start_vined cluster --node-timeout=1s
start_node n1
mkfifo "$DIR/pipe"
expect 0 eval 'vine run -J lost -- head -c 30000000 /dev/zero >"$DIR/whole"'
vine logs 1 >"$DIR/pipe" 2>"$DIR/logs.err" &
logs=$!
exec 3<"$DIR/pipe"
head -c 1000000 <&3 >/dev/null # the rest waits for room, all the way
crash n1
cat <&3 >/dev/null
! wait $logs || fail "half of the output is taken for all of it"
contains "$DIR/logs.err" "cut off"
alive "${pid_of[cluster]}" || { show_log cluster; fail "vined died of it"; }
expect 0 vine status
