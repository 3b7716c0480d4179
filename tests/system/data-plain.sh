# SPDX-License-Identifier: Apache-2.0
# data = plain: large pieces are seen on the wire as they are and come whole; data = tls, the default: nothing is seen.
. "$SRC/tests/system/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root to listen in"
cat >"$DIR/listen.py" <<'END'
import signal, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
s.bind(("lo", 0))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listener ready", flush=True)
while True:
    if b"seen-on-the-wire" in s.recv(1 << 17):
        open(sys.argv[1], "w").write("yes")
END
python3 - "$DIR/file" <<'END'
import random, sys
random.seed(7)
open(sys.argv[1], "wb").write(b"".join(random.randbytes(1000) + b"seen-on-the-wire" for _ in range(32000)))
END
cp -p "$DIR/file" "$DIR/same"
start_vined cluster
for how in tls plain; do
	start_node $how --name=$how --data=$how
	expect 0 vine stage "$DIR/file" --nodes $how --wait
	rm "$DIR/file"
	tree=$(vine tree bytes --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["trees"][0]["tree"])')
	start listener 'listener ready' python3 "$DIR/listen.py" "$DIR/seen-$how"
	start_node n2 --name=n2
	expect 0 vine stage "tree:$tree" --nodes n2 --wait
	expect 0 env VINE_NODE="$DIR/n2" vine tree check "$tree" "$DIR/same"
	expect 0 vine tree bytes --json
	[ $how = tls ] || poll 5 test -e "$DIR/seen-plain"
	stop listener
	if [ $how = tls ]; then
		[ ! -e "$DIR/seen-tls" ] || fail "what TLS is to hide is seen"
	else
		[ -e "$DIR/seen-plain" ] || fail "nothing came as it is"
	fi
	[ $how = plain ] || { stop n2; stop tls; rm -r "$DIR/n2" "$DIR/tls"; cp -p "$DIR/same" "$DIR/file"; expect 0 vine stage "file:$DIR/file" --over; expect 0 vine stage "tree:$tree" --over; }
done
