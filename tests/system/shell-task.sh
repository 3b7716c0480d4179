# SPDX-License-Identifier: Apache-2.0
# vine shell: in the view of a task that runs, and of one that has failed; a command's exit status; a terminal of its own.
# deadline: 120
. "$SRC/tests/system/lib.sh"

mkdir "$DIR/in" && echo original >"$DIR/in/file" && echo other >"$DIR/in/other"
cat >"$DIR/terminal.py" <<'PY'
# terminal.py COMMAND...: types what stands on standard input into it once it has a prompt, and prints what it says.
import os, pty, select, sys, time
typed = sys.stdin.read().encode()
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen, end, is_typed = b"", time.time() + 30, False
while time.time() < end:
    if select.select([fd], [], [], 0.1)[0]:
        try:
            part = os.read(fd, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    if not is_typed and b"ready>" in seen:
        os.write(fd, typed)
        is_typed = True
sys.stdout.buffer.write(seen.replace(b"\r", b""))
sys.stdout.flush()
status = os.waitpid(pid, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status) if time.time() < end else 99)
PY

begun() { grep -q begun "$DIR"/n1/s/*/out; }

check_running() {
	vine run --env MARK=here -i "$DIR/in:/opt/seen:rw" -- sh -c "echo mine >own; echo changed >/opt/seen/file; echo begun; until [ -e $DIR/go ]; do sleep 0.05; done" >"$DIR/task.out" 2>&1 &
	local beside=$! task=$1
	poll 20 begun
	expect 0 vine shell "$task" -- sh -c 'cat own /opt/seen/file; echo $MARK; pwd; echo $VINE_TASK'
	printf 'mine\nchanged\nhere\n' >"$DIR/want"
	head -n 3 "$DIR/out" | cmp - "$DIR/want" || fail "in the view of a task: $(cat "$DIR/out")"
	[ "$(tail -n 1 "$DIR/out")" = "$task" ] || fail "its environment: $(cat "$DIR/out")"
	[ "$(cat "$DIR/in/file")" = original ] || fail "the input was changed"
	expect 3 vine shell "$task" -- sh -c 'exit 3'
	expect 127 vine shell "$task" -- /no/such/program
	# With a terminal: job control, its own process group, and the prompt comes back.
	printf 'echo t=$(tty) j=$-\nexit 5\n' >"$DIR/typed"
	SHELL=/bin/sh expect 5 env PS1='ready>' ENV= python3 "$DIR/terminal.py" vine shell "$task" -- env PS1='ready>' sh -i <"$DIR/typed"
	contains "$DIR/out" "t=/dev/pts/"
	! grep -q "job control" "$DIR/out" || fail "no job control: $(cat "$DIR/out")"
	# It ends with the task.
	touch "$DIR/go"
	wait $beside || fail "the task ended with $?: $(cat "$DIR/task.out")"
	rm "$DIR/go"
}

# Of one that has failed: what it has written is there, its inputs at their paths, and nothing of the host is changed.
check_failed() {
	expect 9 vine run --env MARK=there -i "$DIR/in:/opt/seen:rw" -i "$DIR/in:/opt/plain" -- sh -c 'echo half >own; echo changed >/opt/seen/file; rm -f /opt/seen/other; exit 9'
	local task=$1
	for round in 1 2; do
		expect 0 vine shell "$task" -- sh -c 'cat own /opt/seen/file /opt/plain/file; ls /opt/seen; echo $MARK $(pwd) $$'
		printf 'half\nchanged\noriginal\nfile\n' >"$DIR/want"
		head -n 4 "$DIR/out" | cmp - "$DIR/want" || fail "in the view of a task that failed: $(cat "$DIR/out")"
		[ "$(tail -n 1 "$DIR/out" | cut -d ' ' -f 1)" = there ] || fail "its environment: $(cat "$DIR/out")"
		# A PID namespace of its own: what it leaves behind goes with it.
		expect 4 vine shell "$task" -- sh -c 'setsid sleep 7654321 & echo again >own2; exit 4'
	done
	! pgrep -f "sleep 7654321" >/dev/null || fail "something of a shell is left"
	expect 0 vine shell "$task" -- cat own2
	printf 'echo t=$(tty) p=$(cat own)\nexit 6\n' >"$DIR/typed"
	expect 6 python3 "$DIR/terminal.py" vine shell "$task" -- env PS1='ready>' sh -i <"$DIR/typed"
	contains "$DIR/out" "p=half"
	! grep -q "job control" "$DIR/out" || fail "no job control: $(cat "$DIR/out")"
	[ "$(cat "$DIR/in/file" "$DIR/in/other")" = $'original\nother' ] || fail "the input was changed"
}

# Without a task: inputs at their paths for as long as the shell runs, and nothing of it afterwards.
no_tasks() { [ "$(vine status | grep -c running)" = 0 ] || ! vine status --json | grep -q '"running":1'; }
check_inputs() {
	expect 7 vine shell -i "$DIR/in:/opt/seen:rw" -i "$DIR/in" -- sh -c "cat /opt/seen/file; echo mine >/opt/seen/file; cat /opt/seen/file; cat $DIR/in/file; exit 7"
	[ "$(cat "$DIR/out")" = $'original\nmine\noriginal' ] || fail "a shell with inputs: $(cat "$DIR/out")"
	[ "$(cat "$DIR/in/file")" = original ] || fail "the input was changed"
	printf 'cat /opt/seen/file\nexit 8\n' >"$DIR/typed"
	expect 8 python3 "$DIR/terminal.py" vine shell -i "$DIR/in:/opt/seen" -- env PS1='ready>' sh -i <"$DIR/typed"
	contains "$DIR/out" original
	poll 20 no_tasks
	expect 125 vine shell -i "$DIR/no/such/thing" -- true
	contains "$DIR/err" "/no/such/thing"
}

start_vined cluster
start_node n1 --name=n1 --cores=4 --keep-failed=1h
export VINE_NODE=$DIR/n1
check_running 1
check_failed 2
check_inputs
expect 125 vine shell
expect 125 vine shell x
expect 125 vine shell 77
contains "$DIR/err" "no task 77"

# Of a task that is elsewhere: where, and what to type there.
start_node n2 --name=n2 --feature=far --keep-failed=1h
expect 9 vine run --feature far --tag far -- sh -c 'echo half >own; exit 9'
task=$(($(vine run -- printenv VINE_TASK) - 1))
expect 125 vine shell "$task" -- cat own
contains "$DIR/err" "task $task was on node n2 of this machine, but not in $DIR/n1. Type: VINE_NODE=DIR vine shell $task -- cat own"
expect 0 env VINE_NODE="$DIR/n2" vine shell "$task" -- cat own
contains "$DIR/out" half
