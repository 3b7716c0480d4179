# SPDX-License-Identifier: Apache-2.0
# deadline: 120
# What tasks leave at shared paths and in the cluster: all at once or not at all, what was there before until then; what cannot be kept is said, with what is near.
. "$SRC/tests/system/lib.sh"

start_vined cluster
start_node n1 --cores=4 --name=n1 --tier="${TIER:-views}"
export VINE_NODE=$DIR/n1
mkdir "$DIR/shared" "$DIR/here"
cd "$DIR/here"
S=$DIR/shared
run() { vine run "$@"; }
nothing_else() { # DIRECTORY NAME...
	local dir=$1
	shift
	[ "$(ls -A "$dir" | tr '\n' ' ')" = "$* " ] || fail "in $dir: $(ls -lA "$dir")"
}

# A file, a large one, a directory; then each once more, over the old.
for i in 1 2; do
	expect 0 run -o "f:keep:$S/f" -o "big:keep:$S/deep/down/big" -o "d:keep:$S/d" -- sh -c "echo file $i >f; chmod 640 f; touch -d 2020-01-0$i f
		head -c 5000000 /dev/urandom >big; sha256sum <big; mkdir -p d/sub; echo $i >d/sub/$i; ln -s sub/$i d/link"
	[ "$(cat "$S/f")" = "file $i" ] || fail "file: $(cat "$S/f")"
	[ "$(stat -c '%a %y' "$S/f" | cut -c -14)" = "640 2020-01-0$i" ] || fail "its look: $(stat "$S/f")"
	[ "$(sha256sum <"$S/deep/down/big")" = "$(cat "$DIR/out")" ] || fail "the large one"
	[ "$(cat "$S/d/link" "$S/d/sub"/*)" = "$i
$i" ] || fail "directory: $(ls -lR "$S/d")"
	nothing_else "$S" d deep f
	nothing_else "$S/deep/down" big
done

# What lies there counts as an input of those after it, which need not wait for the next look at the path.
expect 0 run -J chain -o "t:keep:$S/t" -- sh -c 'echo kept >t'

# A target that cannot be: what is there stays, the task fails and says which, nothing is left beside it.
mkdir "$S/dir"
expect 1 run -o "f:keep:$S/dir" -- sh -c 'echo 1 >f'
contains "$DIR/err" "$S/dir"
contains "$DIR/err" "a directory is there"
expect 1 run -o "f:keep:$S/f/below" -- sh -c 'echo 1 >f'
contains "$DIR/err" "Not a directory"
[ "$(cat "$S/f")" = "file 2" ] || fail "it was changed"
nothing_else "$S" d deep dir f t

# Where the node's own files are nothing is put, by links neither, nor in place of what they lie in.
ln -s "$DIR/n1/cache" "$S/link"
for each in "$DIR/n1/node-id" "$DIR/n1/new/f" "$S/link/VERSION" "$DIR/cluster/secret"; do
	before=$(cat "$each" 2>/dev/null) || :
	expect 1 run -o "f:keep:$each" -- sh -c 'echo 1 >f'
	contains "$DIR/err" "the node keeps its own files there"
	[ "$(cat "$each" 2>/dev/null)" = "$before" ] || fail "$each was changed"
done
expect 1 run -o "d:keep:$DIR" -- mkdir d
contains "$DIR/err" "the node keeps its own files there"
[ ! -e "$DIR/n1/new" ] || fail "a directory was made"
rm "$S/link"

# What is missing, or no file: by its name, with what is near, how many more.
expect 1 run -o results/table.csv:temp:x -o also:temp:y -- sh -c 'mkdir results; echo 1 >results/Table.csv'
contains "$DIR/err" "results/table.csv (temp:x) is missing"
contains "$DIR/err" "there is Table.csv"
contains "$DIR/err" "and 1 more"
expect 1 run -o pipe:temp:p -- mkfifo pipe
contains "$DIR/err" FIFO
expect 1 run -o out:temp:l -- ln -s /etc/hostname out
contains "$DIR/err" "symbolic link to /etc/hostname"
expect 0 run -o out:temp:l2 -- sh -c 'echo real >by; ln -s by out'
expect 0 vine fetch temp:l2 -
[ "$(cat "$DIR/out")" = real ] || fail "behind the link: $(cat "$DIR/out")"

# At absolute paths: in its own /tmp, where the host has nothing, where the host has a directory (which it does not write to).
mkdir "$DIR/elsewhere"
expect 0 run -o /tmp/x:temp:tmp -o /no/such/dir/y:temp:no -o "$DIR/elsewhere/z:temp:else" -o "$DIR/elsewhere/deep/d:temp:deep" -- \
	sh -c 'cd "$VINE_ROOT/" && echo x >tmp/x && echo y >no/such/dir/y && cd "./$0" && echo z >z && mkdir -p deep/d && echo d >deep/d/d' "$DIR/elsewhere"
for each in tmp no else; do expect 0 vine fetch temp:$each - && cat "$DIR/out" >>"$DIR/all"; done
[ "$(tr -d '\n' <"$DIR/all")" = xyz ] || fail "absolute: $(cat "$DIR/all")"
expect 0 vine fetch temp:deep deep
[ "$(cat deep/d)" = d ] || fail "a directory"
[ -z "$(ls -A "$DIR/elsewhere")" ] || fail "the host has it: $(ls "$DIR/elsewhere")"

# Another's failure publishes nothing, but for what is wanted of failures.
expect 4 run -o "f:keep:$S/never" -o "log:keep:$S/log:always" -- sh -c 'echo 1 >f; echo why >log; exit 4'
[ ! -e "$S/never" ] || fail "a failed task published"
[ "$(cat "$S/log")" = why ] || fail "no log of the failure"

# Everything is gone from the node but what the cluster keeps.
empty() { [ -z "$(find "$DIR/n1/s" -mindepth 2 -not -path '*/.spare-*' -name cwd -not -path '*/0/*' -newer "$DIR/now")" ]; }
touch "$DIR/now"
expect 0 run -o a:temp:last -- sh -c 'head -c 3000000 /dev/urandom >a'
poll 10 empty
expect 0 vine cache verify
contains "$DIR/out" "all is well"
