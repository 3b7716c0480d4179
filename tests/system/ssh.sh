# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# once
# Hosts behind links of their own, each with a home, a state directory and an sshd, become nodes by ssh and are taken down again; why one cannot is said of that one.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/net-lib"

[ "$(id -u)" = 0 ] || skip "needs root for hosts with users of their own"
sshd=$(command -v sshd) || skip "no sshd: package openssh-server"
command -v ssh >/dev/null || skip "no ssh: package openssh-client"
. "$SRC/tests/system/typed-lib"
nodes() { vine-ssh-nodes "$@"; }
export VINE_SSH="ssh -F $DIR/ssh.conf"

# ---- hosts with a user ada, who has a key
chmod 755 "$DIR"
for each in host user; do ssh-keygen -q -t ed25519 -N '' -f "$DIR/key.$each"; done
cat /etc/passwd - <<<"ada:x:4711:4711::$DIR/ada:/bin/sh" >"$DIR/passwd"
cat /etc/shadow - <<<'ada:*:19000:0:99999:7:::' >"$DIR/shadow"
chmod 600 "$DIR/shadow"
setpriv --reuid=4711 --regid=4711 --clear-groups vine version >/dev/null 2>&1 || skip "another user cannot run this build"
cat >"$DIR/sshd.conf" <<-CONF
	HostKey $DIR/key.host
	AuthorizedKeysFile $DIR/key.user.pub
	StrictModes no
	UsePAM no
	PidFile none
	PasswordAuthentication no
	SetEnv PATH=$PATH
CONF
cat >"$DIR/ssh.conf" <<-CONF
	Host h1 h2
	  User ada
	  IdentityFile $DIR/key.user
	Host *
	  UserKnownHostsFile $DIR/known
	  StrictHostKeyChecking accept-new
	Host h1
	  HostName 10.9.1.2
	Host h2
	  HostName 10.9.2.2
CONF
cat >"$DIR/host" <<-'SH'
	set -e
	mount --bind "$DIR/passwd" /etc/passwd
	mount --bind "$DIR/shadow" /etc/shadow
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir /run/sshd
	hostname "$1"
	mkdir -p "$DIR/ada" && mount -t tmpfs -o mode=700,uid=4711,gid=4711 tmpfs "$DIR/ada"
	mount -t tmpfs -o mode=1777 tmpfs /var/tmp
	echo host ready
	exec "$2" -D -e -f "$DIR/sshd.conf"
SH
far_host() { # NUMBER
	start "h$1" 'host ready' behind_link "$1" unshare --mount --uts --propagation private bash "$DIR/host" "h$1" "$sshd"
	(echo >"/dev/tcp/10.9.$1.2/22") 2>/dev/null || poll 10 bash -c "echo >/dev/tcp/10.9.$1.2/22"
}
for i in 1 2; do far_host $i; done

# ---- as the page says it
ssh() { command ssh -F "$DIR/ssh.conf" "$@"; }
type_chapter "$SRC/doc/clusters.md" 'A few hosts'
unset -f ssh
contains "$typed_home/.local/state/vine/node/vinefs.log" 'other nodes find this one at 10.9.0.1:'

hub_vined cluster --node-timeout=2s
connected() { vine status | grep "^$1  *connected"; }

# ---- all of them, from a file
printf 'h1  # the first\n\nh2\r\nh1\n' >"$DIR/hosts"
expect 0 nodes --hosts "$DIR/hosts"
[ "$(wc -l <"$DIR/out")" = 2 ] || fail "a host that is named twice is no two: $(cat "$DIR/out")"
[ "$(grep -c 'joined$' "$DIR/out")" = 2 ] || fail "not two: $(cat "$DIR/out")"
connected h1 >"$DIR/found"
connected h2 >"$DIR/found"
expect 0 vine run -- id -u
contains "$DIR/out" 4711
! grep -rqF "$(cat "$DIR/cluster/secret")" /proc/[0-9]*/cmdline /proc/[0-9]*/environ || fail "the secret is in a command line or an environment"
[ "$(stat -c %a:%u "/proc/${pid_of[h1]}/root$DIR/ada/.local/state/vine/join-10.9.0.1-${address##*:}/secret")" = 600:4711 ] || fail "others could read it"

# ---- again it does what is missing, and says of each what was wrong
expect 1 nodes h1 stranger@h2 h9.invalid
contains "$DIR/out" 'h1                       was a node already'
contains "$DIR/err" 'stranger@h2              FAILED: ssh: '
contains "$DIR/err" 'h9.invalid               FAILED: ssh: Could not resolve'
contains "$DIR/err" '2 of 3 hosts'
expect 1 nodes --vine /nonexistent/vine h1
contains "$DIR/err" 'h1                       FAILED: there is no /nonexistent/vine'
expect 125 nodes 'h1; reboot'
contains "$DIR/err" 'is no host'
expect 125 nodes --vined "$address" --secret "$DIR/nothing" h1
contains "$DIR/err" '--secret FILE'
expect 125 nodes --vined "$address" --secret "$DIR" h1

# ---- the end
expect 0 nodes --stop h1 h2
[ "$(grep -c 'ended$' "$DIR/out")" = 2 ] || fail "not two: $(cat "$DIR/out")"
! connected h1 || fail "it is still there"
expect 0 nodes --stop h1
contains "$DIR/out" 'was no node'
expect 1 nodes --vined "$address" --secret "$DIR/hosts" h2 h1
contains "$DIR/err" 'hex digits'
contains "$DIR/err" '2 of 2'
for i in 1 2; do
	kill -TERM "${pid_of[h$i]}"
	wait "${pid_of[h$i]}" || :
	unset "pid_of[h$i]"
done
