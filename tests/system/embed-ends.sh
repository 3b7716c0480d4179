# SPDX-License-Identifier: Apache-2.0
# The user's own cluster on a bad day: an interrupt, a terminal that is closed, a full disk, a long path, nobody who needs it.
. "$SRC/tests/system/lib.sh"

in_state() { XDG_STATE_HOME=$1 "${@:2}"; }
owner() { cat "$1/lock"; }
ended() { gone "$(owner "$1")"; }

# ---- Ctrl-C and a closed terminal end the command, not the cluster that it has started
n=0
for signal in INT HUP; do
	n=$((n + 1))
	rm -f "$DIR/begun"
	mkfifo "$DIR/begun"
	env XDG_STATE_HOME="$DIR/s" setsid vine run -- sh -c "echo >'$DIR/begun'; exec sleep 100" >"$DIR/run.out" 2>"$DIR/run.err" &
	command_=$!
	read -r _ <"$DIR/begun"
	[ $n = 1 ] && vined=$(owner "$DIR/s/vine/default") keeper=$(owner "$DIR/s/vine/node")
	kill -$signal -- -$command_
	wait $command_ && fail "SIG$signal did not end it"
	alive "$vined" || fail "SIG$signal has ended vined"
	alive "$keeper" || fail "SIG$signal has ended the node"
done
expect 0 in_state "$DIR/s" vine run -- true
[ ! -s "$DIR/err" ] || fail "something was started again: $(cat "$DIR/err")"

# ---- an ordinary user has one, too
user() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
if [ "$(id -u)" = 0 ] && user test -x "$(command -v vine)" 2>/dev/null; then
	mkdir "$DIR/user"
	chown 1000 "$DIR/user"
	chmod 755 "$DIR"
	expect 0 in_state "$DIR/user" user vine run -- id -u
	contains "$DIR/out" 1000
	expect 125 in_state "$DIR/user" vine status # root's is another
	contains "$DIR/err" 'belongs to user 1000'
	expect 0 in_state "$DIR/user" user vine down
	expect 125 in_state "$DIR/user" vine run -- true
	contains "$DIR/err" 'belongs to user 1000'
fi

# ---- a full disk is named
mkdir "$DIR/full"
mount -t tmpfs -o size=40k,nr_inodes=40 tmpfs "$DIR/full"
trap 'umount -l "$DIR/full" 2>/dev/null || :; on_exit' EXIT
expect 125 in_state "$DIR/full" vine run -- true
contains "$DIR/err" "$DIR/full/vine"
contains "$DIR/err" 'XDG_STATE_HOME'
[ "$(wc -l <"$DIR/err")" = 1 ] || fail "said: $(cat "$DIR/err")"
umount "$DIR/full"

# ---- where sockets cannot be, the local disk is taken
long=$DIR/$(printf '%0100d' 0)
rm -rf "/var/tmp/vine-$(id -u)"
expect 0 in_state "$long" vine run -- echo far
contains "$DIR/out" far
contains "$DIR/err" "too long for a socket"
expect 0 in_state "$long" vine status
[ ! -s "$DIR/err" ] || fail "said again: $(cat "$DIR/err")"
expect 0 in_state "$long" vine down
rm -rf "/var/tmp/vine-$(id -u)"

# ---- a node that was there for data is the cluster's, too, with its cache and mounts, and outlives it for who uses it
if [ -e /dev/fuse ]; then
	mkdir "$DIR/src" "$DIR/m"
	echo there >"$DIR/src/file"
	expect 0 in_state "$DIR/data" vine mount --sealed "$DIR/src" "$DIR/m"
	keeper=$(owner "$DIR/data/vine/node")
	exec 5<"$DIR/m/file"
	expect 0 in_state "$DIR/data" vine run -i "$DIR/src" -- cat "$DIR/src/file"
	contains "$DIR/out" there
	read -r line <&5
	[ "$line" = there ] || fail "the reader got: $line"
	exec 5<&-
	[ ! -e "$DIR/data/vine/default/n1" ] || fail "there is another node"
	expect 0 in_state "$DIR/data" vine down
	alive "$keeper" || fail "the mount's node has ended"
	contains "$DIR/m/file" there
	expect 0 in_state "$DIR/data" vine run -- true
	[ "$(owner "$DIR/data/vine/node")" = "$keeper" ] || fail "there is another node"
	expect 0 in_state "$DIR/data" vine umount "$DIR/m"
	expect 0 in_state "$DIR/data" vine down
	kill -TERM "$keeper"
	poll 10 gone "$keeper"
	rm -r "$DIR/src" "$DIR/m"
fi

# ---- nobody needs it: it ends with its node, unless it was told to stay or the node has a mount
export VINED_IDLE_EXIT=$((600 * ${DEADLINE_FACTOR:-1}))ms VINEFS_IDLE_EXIT=$((600 * ${DEADLINE_FACTOR:-1}))ms
expect 0 in_state "$DIR/stays" vine up
expect 0 in_state "$DIR/idle" vine run -- echo hello
mkdir "$DIR/src" "$DIR/m"
echo there >"$DIR/src/file"
expect 0 in_state "$DIR/mounted" vine run -- true
if [ -e /dev/fuse ]; then
	expect 0 in_state "$DIR/mounted" vine mount --sealed "$DIR/src" "$DIR/m"
	poll 10 ended "$DIR/mounted/vine/default"
	contains "$DIR/m/file" there
	expect 0 in_state "$DIR/mounted" vine umount "$DIR/m"
fi
poll 10 ended "$DIR/idle/vine/default"
poll 10 ended "$DIR/idle/vine/node"
poll 10 ended "$DIR/mounted/vine/node"
alive "$(owner "$DIR/stays/vine/default")" || fail "it was told to stay"
expect 125 in_state "$DIR/idle" vine status
contains "$DIR/err" 'is not up'
expect 0 in_state "$DIR/idle" vine run -- echo again
contains "$DIR/out" again
for each in s stays idle; do
	expect 0 in_state "$DIR/$each" vine down
done
