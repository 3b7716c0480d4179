# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# In a strict view there is the system and what was declared. In no view is there anything of the node's: other tasks' sandboxes, the cache, sockets, secrets.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/views-lib"

start_vined cluster
mkdir "$DIR/data"
echo values >"$DIR/data/table"
echo undeclared >"$DIR/undeclared"
chmod 755 "$DIR"

strict() {
	expect 0 vine run --strict -i "$DIR/data" -- cat "$DIR/data/table"
	prints values
	expect 1 vine run --strict -i "$DIR/data" -- cat "$DIR/undeclared"
	contains "$DIR/err" "$DIR/undeclared: No such file or directory"
	expect 0 vine run --strict -- sh -c 'for i in /root /home /var /opt /srv; do ls $i 2>/dev/null; done; echo x >x; echo y >/tmp/y; cat x /tmp/y; echo >/dev/null; test -d /proc/self'
	prints 'x
y'
	expect 0 vine run --strict -i "$DIR/data:/legacy-code" -- cat /legacy-code/table
	prints values
}
each_node strict views

hidden() {
	vine run -- sh -c 'sleep 600' >/dev/null 2>&1 &
	local sleeper=$!
	poll 20 eval 'ls -d "$state"/s/*/cwd'
	local other
	other=$(cd "$state/s" && ls -d */ | head -n 1)
	expect 0 vine run -- sh -c 'for i; do ls -d "$i" 2>/dev/null; done; ls "$(dirname "$(dirname "$VINE_SANDBOX")")"; ls "$(dirname "$VINE_SANDBOX")" | wc -l' sh \
		"$state/s/$other" "$state/cache" "$state/vinefs.sock" "$state/mount.sock" "$state/mnt" "$state/node-id" "$state/keeper.log"
	prints 's
1'
	expect 0 vine run -- sh -c 'ls -A /tmp; ps -e 2>/dev/null | wc -l | grep -q . ; for i in /proc/[0-9]*; do echo; done | wc -l | (read n; [ $n -lt 8 ] && echo alone)'
	contains "$DIR/out" alone
	kill -INT $sleeper
	wait $sleeper || :
}
each_node hidden views
