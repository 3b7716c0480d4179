# SPDX-License-Identifier: Apache-2.0
# Unmodified programs from a mount: a binary, a library found by $ORIGIN, Python's imports, mmap.
. "$SRC/tests/system/lib.sh"
. "$SRC/tests/system/mount-lib"

command -v gcc >/dev/null || skip "no gcc"
mkdir -p "$DIR/src/bin" "$DIR/src/lib" "$DIR/src/py"
echo 'int answer(void) { return 42; }' | gcc -shared -fPIC -x c - -o "$DIR/src/lib/libanswer.so"
echo '#include <stdio.h>
int answer(void);
int main(void) { printf("%d\n", answer()); return 0; }' |
	gcc -x c - -x none -L"$DIR/src/lib" -lanswer -Wl,-rpath,'$ORIGIN/../lib' -o "$DIR/src/bin/ask-it"
printf '#!%s/m/bin/sh -e\necho script $0\n' "$DIR" >"$DIR/src/bin/script"
chmod 755 "$DIR/src/bin/script"
cp /bin/sh "$DIR/src/bin/sh"
stdlib=$(python3 -c 'import json, os; print(os.path.dirname(os.path.dirname(json.__file__)))')
cp -r "$stdlib/json" "$DIR/src/py/vjson"
cp -r "$stdlib/email" "$DIR/src/py/vemail"
rm -rf "$DIR"/src/py/*/__pycache__
python3 -m compileall -q "$DIR/src/py"
head -c 9000000 /dev/urandom >"$DIR/src/data"

serve --single "$DIR/m" "$DIR/src"
[ "$("$DIR/m/bin/ask-it")" = 42 ] || fail 'a library by $ORIGIN'
grep -q libanswer "$DIR/src/bin/ask-it"
[ "$("$DIR/m/bin/script")" = "script $DIR/m/bin/script" ] || fail "a script with its interpreter in the mount"

imports='import sys; sys.path.insert(0, sys.argv[1]); import vjson, vjson.tool, vemail, vemail.charset; print(vjson.__file__, vjson.loads("[1]"))'
expect 0 python3 -v -c "$imports" "$DIR/m/py"
contains "$DIR/out" "$DIR/m/py/vjson/__init__.py [1]"
contains "$DIR/err" "matches $DIR/m/py/vjson/__init__.py" # compiled files are taken as they are: times agree to the nanosecond
! grep -q "wrote '$DIR/m" "$DIR/err" || fail "it was compiled again"
before=$(number requests)
expect 0 python3 -c "$imports" "$DIR/m/py"
ask numbers | sed -n 's/^/  /p'
echo "requests of a warm import: $(($(number requests) - before)), all ioctl: $(number IOCTL)"

expect 0 python3 - "$DIR/m/data" "$DIR/src/data" <<'PYTHON'
import mmap, random, sys
f = open(sys.argv[1], "rb")
a = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
b = open(sys.argv[2], "rb").read()
for i in range(2000):
    at = random.randrange(len(b)); assert a[at:at + 5000] == b[at:at + 5000]
assert a[:] == b
PYTHON
if command -v git >/dev/null; then
	git init -q "$DIR/repo" && cp "$SRC"/common/*.h "$DIR/repo/" && git -C "$DIR/repo" add . &&
		git -C "$DIR/repo" -c user.name=x -c user.email=x@x commit -qm x
	ask unmount
	stop serve
	serve --single "$DIR/m" "$DIR/repo"
	expect 0 git -C "$DIR/m" -c safe.directory='*' status --porcelain
	[ ! -s "$DIR/out" ] || fail "git sees changes: $(cat "$DIR/out")"
fi
