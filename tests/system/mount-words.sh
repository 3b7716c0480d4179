# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What `vine mount` is told and refuses by name, what it must not hang on, and how it ends by a signal.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

node=$HOME/.local/state/vine/node
trap '[ ! -e "$node/lock" ] || tail -n 20 "$node/vinefs.log" >&2; on_exit' EXIT
refuse() { # WHAT IT SAYS, CMD...
	local says=$1
	shift
	expect 125 timeout -s KILL $((20 * ${DEADLINE_FACTOR:-1})) "$@"
	contains "$DIR/err" "$says"
}
none_left() { [ "$(vine mount --json | grep -c '"directory"')" = 0 ]; }
mounted() { grep -q " $1 " /proc/self/mountinfo; }

mkdir "$DIR/a" "$DIR/place" "$DIR/src"
echo text >"$DIR/a/file"
echo single >"$DIR/single"
: >"$DIR/empty"
vine seal -q "$DIR/a" --name env >/dev/null
vine seal -q "$DIR/single" --name one >/dev/null

# Words.
refuse 'what to mount is empty' vine mount '' "$DIR/place"
refuse 'the directory to mount on is empty' vine mount env ''
refuse 'nothing can be mounted on /' vine mount env / -- true
refuse 'nothing can be mounted on /' vine mount env /tmp/..
cp -a "$DIR/a" "$DIR/unknown"
refuse 'directory' vine mount env "$DIR/empty"
refuse 'directory' vine mount "$DIR/unknown" "$DIR/empty"
refuse 'directory' vine mount one "$DIR/place"
refuse 'directory' vine mount one "$DIR/place" -- true
for word in draft=1 device=/dev/null helper no-warm -- --no-bind; do
	refuse "'$word' is no option of a mount" vine mount -o "noatime,$word" env "$DIR/place"
done
! mounted "$DIR/place" || fail "it is mounted in spite of that"

# What is wrong with a path is said, not that it is no name.
expect 0 vine mount -q env "$DIR/place"
(cd "$DIR" && expect 125 vine cache evict a)
contains "$DIR/err" 'in use'
(cd "$DIR" && expect 125 vine cache evict nothing)
contains "$DIR/err" 'no tree here'

# Who unmounts is no holder, where ever it stands.
(cd "$DIR/place" && expect 1 vine umount "$DIR/place")
! grep vine "$DIR/out" || fail "vine umount is in its own way"
expect 0 env -C "$DIR/place" vine umount ../place
(cd "$DIR" && expect 0 vine mount -q env place && expect 0 vine umount place)

# Over the node's own state: not for all; for one command it is done, and does not wait for itself.
for at in "$HOME" "$node" "$DIR/home/.local/state"; do refuse "contains this node's state ($node)" vine mount env "$at"; done
expect 0 timeout -s KILL $((30 * ${DEADLINE_FACTOR:-1})) vine mount env "$HOME" -- cat "$HOME/file"
[ "$(cat "$DIR/out")" = text ] || fail "not the tree"
poll 10 none_left

# A signal that vine alone gets ends what it runs, which can hear it; nothing stays mounted.
cat >"$DIR/waits" <<'SHELL'
#!/bin/bash
echo $$ >"$DIR/waits.pid"
exec tail -f /dev/null
SHELL
chmod +x "$DIR/waits"
for signal in TERM INT; do
	rm -f "$DIR/waits.pid"
	# What a shell starts in the background ignores SIGINT.
	VINE_MOUNT=$DIR/waits DIR=$DIR env --default-signal=INT vine mount -q env "$DIR/place" 2>"$DIR/err" & vine=$!
	poll 10 test -s "$DIR/waits.pid"
	program=$(cat "$DIR/waits.pid")
	grep -q '^SigBlk:.0*$' "/proc/$program/status" || fail "vine-mount runs with signals blocked"
	kill -$signal $vine
	poll 10 gone $vine
	status=0
	wait $vine || status=$?
	[ $status = 125 ] || fail "it ended with $status by SIG$signal"
	gone "$program" || fail "vine-mount was left behind"
done
program=$(find "$STAGE" -name vine-mount -type f | head -n 1)
python3 - "$DIR/silent.sock" "$DIR/silent" <<'PYTHON' & silent=$!
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind(sys.argv[1])
s.listen()
open(sys.argv[2], "w").close()
c, _ = s.accept()
c.recv(8192)
open(sys.argv[2] + ".asked", "w").close()
while c.recv(8192):
    pass
PYTHON
poll 10 test -e "$DIR/silent"
"$program" attach "$DIR/silent.sock" "$(printf 'a%.0s' {1..64})" env "$DIR/place" 2>"$DIR/err" & vine=$!
poll 10 test -e "$DIR/silent.asked"
mounted "$DIR/place" || fail "it asks before it mounts"
kill -TERM $vine
status=0
wait $vine || status=$?
[ $status = 143 ] || fail "vine-mount ended with $status by SIGTERM"
! mounted "$DIR/place" || fail "a mount that nobody serves was left"
wait $silent 2>/dev/null || :

# A source that does not answer: the command can be ended. And a directory of more names than there is time for is left, not gone through.
(cd "$DIR/src" && seq 1 10000 | xargs touch)
serve "$DIR/m" a="$DIR/src"
refused warm a 1000 | grep -q ' files=0 ' || fail "warming does not look at the clock"
stand_still # a request that was read would be waited for, whatever signal comes
vine mount -q "$DIR/m/a/9999" "$DIR/place" & vine=$!
asks() { grep -qE 'fuse|request_wait' "/proc/$vine/wchan"; }
poll 10 asks
kill -TERM $vine
poll 5 gone $vine
kill -CONT "$(server)"
stop serve
pid=$(cat "$node/lock")
kill -TERM "$pid"
poll 15 gone "$pid"
