# SPDX-License-Identifier: Apache-2.0
# deadline: 240
# FAULTS row 7: a peer lies, stops half-way, gives 1 KB/s, says nothing, or what no tree can have, or without end, or cannot be reached: what it gave is dropped, it is reported and avoided, and the bytes come from elsewhere.
. "$SRC/tests/system/lib.sh"

json() { python3 -c 'import json,sys; print(eval(sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; }
on() { # FEATURE INPUT: a task there that needs all of it
	timeout $((60 * ${DEADLINE_FACTOR:-1})) vine run --feature "$1" --staging full -i "$2:data" -- cmp data "$DIR/same"
}
figure() { # NODE NAME
	python3 - "$DIR/$1/metrics" "$2" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
text = b''.join(iter(lambda: s.recv(65536), b'')).decode()
print(*[l.split()[1] for l in text.splitlines() if l.startswith(sys.argv[2] + ' ')])
PY
}
was_asked() { grep -q $([ $how = wrong ] || echo "-e watched") -e asked "$DIR/liar.out"; }
start_vined cluster
start_node n1 --name=n1 --feature=n1
head -c 20000000 /dev/urandom >"$DIR/file"
touch -d '2001-02-03' "$DIR/file"
cp -p "$DIR/file" "$DIR/same"
on n1 "$DIR/file" >"$DIR/out1" 2>"$DIR/err1" || fail "$(cat "$DIR/err1")"
tree=$(VINE_NODE=$DIR/n1 vine cache ls --json | json 'j["trees"][0]["tree"]')
vti=$(echo "$DIR"/n1/cache/t/*.vti)

# The bytes must come from the nodes.
rm "$DIR/file"
for how in wrong half slow silent other absent noise beyond endless huge parts; do
	start liar 'liar ready' liar "$VINE" "$DIR/cluster/secret" "$vti" "$DIR/same" $how
	start_node "$how" --name=$how --feature=$how
	began=$SECONDS
	# Else n1 may have given all of it before the liar is asked.
	[ $how = absent ] || kill -STOP "$(field n1 pid)"
	on $how "tree:$tree" >"$DIR/out-$how" 2>"$DIR/err-$how" &
	asker=$!
	[ $how = absent ] || poll 20 was_asked
	kill -CONT "$(field n1 pid)"
	wait $asker || fail "$how: $(cat "$DIR/err-$how")"
	took=$((SECONDS - began))
	[ $took -le $((15 * ${DEADLINE_FACTOR:-1})) ] || fail "$how: it took $took s"
	cp "$DIR/liar.out" "$DIR/liar-$how.out"
	peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(field "$how" pid)/status")
	[ "$peak" -lt 400000 ] || fail "$how: the asker took $peak kB of memory"
	if [ $how = wrong ]; then
		poll 20 sh -c "vine events -n 1000 | grep -q 'peer-bad.*gave wrong bytes'"
		[ "$(figure wrong vinefs_wrong_chunks_total)" -gt 0 ] || fail 'no chunk was wrong'
		[ "$(figure n1 vinefs_given_bytes_total)" -ge 10000000 ] || fail "n1 gave $(figure n1 vinefs_given_bytes_total)"
	fi
	expect 0 env VINE_NODE="$DIR/$how" vine tree check "$tree" "$DIR/same"
	stop $how
	stop liar
done
stop n1
