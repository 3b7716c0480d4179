# SPDX-License-Identifier: Apache-2.0
# once
# What is wrong at start is one line that names it, and exit status 125.
. "$SRC/tests/system/lib.sh"

refused() { # TEXT CMD...: CMD must print one line with TEXT and end with 125
	local text=$1
	shift
	expect 125 timeout 20 "$@"
	contains "$DIR/err" "$text"
	[ "$(wc -l <"$DIR/err")" = 1 ] || fail "not one line: $(cat "$DIR/err")"
}

start_vined cluster
address=$(field cluster address)

# A port in use.
refused "$address" vined --state="$DIR/a" --listen="$address"
# An unknown setting: on the command line, in a file, with the nearest name.
refused listen vined --state="$DIR/a" --lisen=127.0.0.1:0
printf 'state = %s\nlisen = 127.0.0.1:0\n' "$DIR/a" >"$DIR/conf"
refused "conf:2" vined --config="$DIR/conf"
contains "$DIR/err" listen
# A bad unit, out of range, not a number, no value, from the environment.
refused "node-timeout" vined --state="$DIR/a" --node-timeout=30parsecs
refused "node-timeout" vined --state="$DIR/a" --node-timeout=1ns
refused VINED_NODE_TIMEOUT=soon env VINED_NODE_TIMEOUT=soon vined --state="$DIR/a"
refused "crash-limit" vined --state="$DIR/a" --crash-limit=99999999999999999999
refused "listen" vined --state="$DIR/a" --listen=nonsense
# A name that no peer would take.
long=$(printf '%070d' 0)
refused "--name" vined --state="$DIR/a" --name="$long"
refused "--name" vinefs --state="$DIR/n" --vined="$address" --secret="$DIR/cluster/secret" --name="$long"
# A secret that others can read, is no secret, or is not there.
mkdir -m 700 "$DIR/b"
cp "$DIR/cluster/secret" "$DIR/b/secret"
chmod 640 "$DIR/b/secret"
refused "$DIR/b/secret" vined --state="$DIR/b" --listen=127.0.0.1:0
refused "$DIR/b/secret" vinefs --state="$DIR/n" --vined="$address" --secret="$DIR/b/secret"
echo no >"$DIR/b/secret"
chmod 600 "$DIR/b/secret"
refused "$DIR/b/secret" vined --state="$DIR/b" --listen=127.0.0.1:0
refused "$DIR/c/secret" vinefs --state="$DIR/n" --vined="$address" --secret="$DIR/c/secret"
# The wrong secret.
head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$DIR/wrong"
echo >>"$DIR/wrong"
chmod 600 "$DIR/wrong"
refused "wrong secret" vinefs --state="$DIR/n" --vined="$address" --secret="$DIR/wrong"
VINE=$address VINE_SECRET=$DIR/wrong refused "wrong secret" vine run -- true
# An unwritable state directory (for root too: a read-only mount), and a file in its place.
mkdir "$DIR/ro"
mount -t tmpfs -o ro,mode=700 tmpfs "$DIR/ro"
refused "$DIR/ro" vined --state="$DIR/ro" --listen=127.0.0.1:0
umount "$DIR/ro"
touch "$DIR/file"
refused "$DIR/file" vined --state="$DIR/file" --listen=127.0.0.1:0
# Nobody there.
stop cluster
refused "$DIR/cluster" vine status
refused "$DIR/nowhere" env VINE="$DIR/nowhere" vine status
