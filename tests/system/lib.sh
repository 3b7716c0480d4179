# SPDX-License-Identifier: Apache-2.0
# What the system tests share; each begins with  . "$SRC/tests/system/lib.sh"
#
#   fail MSG...                    ends the test
#   skip WHY...                    ends it as neither passed nor failed
#   poll SECONDS CMD...            waits until CMD succeeds, fails at the deadline
#   expect STATUS CMD...           runs CMD, which must end so; leaves its output in $DIR/out and $DIR/err
#   contains FILE TEXT             fails unless FILE has TEXT
#   start_vined NAME [ARG...]      starts a daemon on $DIR/NAME, waits for its ready line; `vine` speaks to the last one
#   start_node NAME [ARG...]       starts vinefs on $DIR/NAME for the last vined
#   field NAME KEY                 prints the value of KEY in the ready line of NAME
#   stop NAME                      SIGTERM; it must end by itself with status 0
#   crash NAME                     SIGKILL
# What a test started and did not stop is stopped at its end, as strictly. Output is in $DIR/NAME.{out,log}.

set -eEu # no pipefail: it would make `cmd | grep -q` fail now and then, by SIGPIPE
declare -A pid_of=()
started=()
broken=0 # the status with which it ends early; an EXIT trap of the test's own may have commands before on_exit

fail() {
	local i
	echo "FAIL: $*" >&2
	for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
		echo "  at ${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}" >&2
	done
	touch "$DIR/.failed"
	exit 1
}

skip() {
	echo "$*"
	broken=77
	exit 77
}

sleep() {
	touch "$DIR/.slept"
	fail "sleep $*: a test polls for what it waits for"
}

poll() { # SECONDS CMD...
	local end=$((SECONDS + $1 * ${DEADLINE_FACTOR:-1} + 1)) limit=$1
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "after $limit s still not: $*"
		command sleep 0.02
	done
}

expect() { # STATUS CMD...
	local want=$1 got=0
	shift
	"$@" >"$DIR/out" 2>"$DIR/err" || got=$?
	[ "$got" = "$want" ] && return
	sed 's/^/out: /' "$DIR/out" >&2
	sed 's/^/err: /' "$DIR/err" >&2
	fail "expected status $want, got $got: $*"
}

contains() { # FILE TEXT
	grep -qF -e "$2" "$1" && return
	sed "s/^/${1##*/}: /" "$1" >&2
	fail "$1 does not contain: $2"
}

# ---- daemons ----

alive() { kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }

show_log() { # NAME
	sed "s/^/$1: /" "$DIR/$1.out" >&2
	tail -n 40 "$DIR/$1.log" | sed "s/^/$1: /" >&2
}

start() { # NAME READY CMD...: runs CMD in the background until it prints a line that begins with READY
	local name=$1 ready=$2 end=$((SECONDS + 20 * ${DEADLINE_FACTOR:-1}))
	shift 2
	: >"$DIR/$name.out" # here, not in the child, lest the line of a start before be taken for this one's
	"$@" >"$DIR/$name.out" 2>>"$DIR/$name.log" </dev/null &
	pid_of[$name]=$!
	started+=("$name")
	until grep -q "^$ready" "$DIR/$name.out"; do
		alive "${pid_of[$name]}" || { show_log "$name"; fail "$name ended before it was ready"; }
		[ $SECONDS -lt $end ] || { show_log "$name"; fail "$name is not ready"; }
		command sleep 0.02
	done
}

field() { # NAME KEY
	sed -n "s/^vine[a-z]* ready.* $2=\([^ ]*\).*/\1/p" "$DIR/$1.out" | tail -n 1
}

# What has begun there is in the database, which nobody waits for.
is_recorded() { # VINED
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
sys.exit(b"\nvined_commit_backlog_bytes 0\n" not in b"".join(iter(lambda: s.recv(65536), b"")))' "$DIR/$1/metrics"
}

start_vined() { # NAME [ARG...]
	local name=$1
	shift
	start "$name" 'vined ready' vined --state="$DIR/$name" --listen=127.0.0.1:0 "$@"
	vined=$name
	export VINE
	VINE=$(field "$name" socket)
}

start_node() { # NAME [ARG...]
	local name=$1
	shift
	start "$name" 'vinefs ready' vinefs --state="$DIR/$name" --vined="$(field "$vined" address)" \
		--secret="$DIR/$vined/secret" "$@"
}

stop() { # NAME
	local name=$1 pid status=0
	pid=${pid_of[$name]}
	unset "pid_of[$name]"
	kill -TERM "$pid" 2>/dev/null || { show_log "$name"; fail "$name ended on its own"; }
	local end=$((SECONDS + 10 * ${DEADLINE_FACTOR:-1}))
	while alive "$pid" && [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ]; do
		[ $SECONDS -lt $end ] || { show_log "$name"; fail "$name does not end on SIGTERM"; }
		command sleep 0.02
	done
	wait "$pid" || status=$?
	[ $status = 0 ] || { show_log "$name"; fail "$name ended with status $status on SIGTERM"; }
}

crash() { # NAME
	local pid=${pid_of[$1]}
	unset "pid_of[$1]"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || :
}

on_exit() {
	local status=$? i
	trap - ERR EXIT
	[ $broken = 0 ] || status=$broken
	if [ $status = 0 ] && [ ! -e "$DIR/.failed" ]; then
		for ((i = ${#started[@]} - 1; i >= 0; i--)); do
			[ -z "${pid_of[${started[i]}]-}" ] || stop "${started[i]}"
		done
	elif [ $status != 77 ]; then
		for i in ${started[@]+"${started[@]}"}; do
			tail -n 15 "$DIR/$i.log" | sed "s/^/$i: /" >&2
		done
		kill -KILL -1 2>/dev/null || : # all but this process and the first
	fi
	[ ! -e "$DIR/.failed" ] || status=1
	exit $status
}

trap 'broken=$?; echo "FAIL: status $broken at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap on_exit EXIT
