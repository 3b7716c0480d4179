# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# The only node that has all of a tree dies while two others bring it over its slow link: both get all of it, and of its source no more is read than what they had not got.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/net-lib"

size=24000000
tbf() { tc qdisc replace dev "v${link_of[$1]}" root tbf rate 16mbit burst 128kb latency 200ms && in_node "$1" tc qdisc replace dev e0 root tbf rate 16mbit burst 128kb latency 200ms; }
fetched() { # NODE ORIGIN
	python3 - "$DIR/$1/metrics" "vinefs_fetched_bytes_total{origin=\"$2\"} " <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
text = b''.join(iter(lambda: s.recv(65536), b'')).decode()
print(*[l.split()[-1] for l in text.splitlines() if l.startswith(sys.argv[2])])
PY
}
# Its process and all that it started; the link stays.
die() {
	local home each
	home=$(stat -Lc %i "/proc/${pid_of[$1]}/ns/net")
	for each in /proc/[0-9]*; do
		[ "$(stat -Lc %i "$each/ns/net" 2>/dev/null)" != "$home" ] || kill -KILL "${each#/proc/}" 2>/dev/null || :
	done
	wait "${pid_of[$1]}" 2>/dev/null || :
	unset "pid_of[$1]"
}
echo 1 >/proc/sys/net/ipv4/ip_forward || skip "no packets pass from one node to the other"
hub_vined cluster
for n in n1 n2 n3; do far_node $n --feature=$n; done
tbf n1 || skip "no tbf"
head -c $size /dev/urandom >"$DIR/file"
touch -d '2001-02-03' "$DIR/file"
# Its item is known as long as somebody names it.
SHOW="how status reason" post 1 "in=$DIR/file@data" feature=n1 staging=full sh -c "touch $DIR/begun; until false; do sleep 0.05; done" \
	>"$DIR/first" 2>"$DIR/err-n1" &
poll 30 test -e "$DIR/begun"

for n in n2 n3; do
	SHOW="how status reason" post 1 "in=$DIR/file@data" feature=$n staging=full cmp data "$DIR/file" >"$DIR/on-$n" 2>"$DIR/err-$n" &
	declare "$n=$!"
done
got() { [ "$(fetched "$1" nodes)" -ge $((size / 3)) ]; }
poll 30 got n2
die n1
wait "$n2" || fail "$(cat "$DIR/err-n2")"
wait "$n3" || fail "$(cat "$DIR/err-n3")"
contains "$DIR/on-n2" "exited 0"
contains "$DIR/on-n3" "exited 0"
read=$(($(fetched n2 "shared paths") + $(fetched n3 "shared paths")))
[ $read -gt 0 ] && [ $read -le $((size * 3 / 4)) ] || fail "$read of $size bytes were read of the source again"
