# SPDX-License-Identifier: Apache-2.0
# once
# deadline: 180
# Interpreters and databases over `vine mount`: every module of a Python environment, perl, node and java with their libraries, sqlite by mmap. What they find in the
# mount is what they find in the original. In soak the environment is VINE_BENCH_ENV.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
mkdir "$DIR/m" "$DIR/ro"
trap 'umount -l "$DIR/m" "$DIR/ro" 2>/dev/null || :; on_exit' EXIT
sealed() { # SOURCE: mounted from here on
	! mountpoint -q "$DIR/m" || expect 0 vine umount "$DIR/m"
	expect 0 vine seal -q "$1" --name t-tree
	expect 0 vine mount -q t-tree "$DIR/m"
}
# The places are named in what programs say.
same() { # SOURCE CMD...: with PLACE in place of the directory; status and words are equal
	local source=$1 from to
	shift
	for each in "$source" "$DIR/m"; do
		(cd / && "${@//PLACE/$each}") >"$DIR/out" 2>&1 </dev/null && echo "status 0" >>"$DIR/out" || echo "status $?" >>"$DIR/out"
		sed -e "s:$each:PLACE:g" "$DIR/out" >"$DIR/said.$([ "$each" = "$source" ] && echo want || echo got)"
	done
	cmp "$DIR/said.want" "$DIR/said.got" || fail "${*}: $(diff "$DIR/said.want" "$DIR/said.got" | head -n 6)"
}

# ---- Python: all modules at the top of its library, the same of them failing for the same reason
cat >"$DIR/all.py" <<'PYTHON'
import importlib, os, pkgutil, re, sys, warnings
warnings.simplefilter("ignore")
place, below = sys.argv[1], sys.argv[2:]
out, sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), open(os.devnull, "w"), open(os.devnull, "w")
n = 0
for name in sorted({m.name for m in pkgutil.iter_modules(below)} - {"antigravity", "this", "__main__"}):
    try: importlib.import_module(name); n += 1; said = "ok"
    except BaseException as e: said = "%s: %s" % (type(e).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(e)))
    out.write("%s %s\n" % (name, said))
files = sorted({str(m.__file__) for m in sys.modules.values() if getattr(m, "__file__", None)})
out.write("%d modules, %d files\n%s\n" % (n, len(files), "\n".join(files)))
out.flush()
os._exit(0)
PYTHON
if [ "${SOAK:-0}" != 0 ] && [ -n "${VINE_BENCH_ENV-}" ]; then
	python=bin/python3
	source=$VINE_BENCH_ENV
	below=$(cd "$source" && ls -d lib/python3*/site-packages)
	home=
else
	library=$(python3 -c 'import os; print(os.path.dirname(os.__file__))')
	source=$DIR/python
	below=lib/$(basename "$library")
	mkdir -p "$source/$below"
	(cd "$library" && find . \( -name test -o -name tests -o -name idlelib -o -name lib2to3 -o -name site-packages -o -name dist-packages -o -name 'config-*' -o -name ensurepip -o -name __pycache__ -o -name turtledemo -o -name '*.a' \) -prune \
		-o -type f -size -4000k -print0 | tar --null -T - -cf -) | tar -C "$source/$below" -xf -
	echo 'import no_such_module' >"$source/$below/failing.py"
	echo 'raise ValueError(__file__)' >"$source/$below/raising.py"
	home=yes
fi
import_all() { # PLACE: by an interpreter that has nothing else
	if [ -n "$home" ]; then
		env PYTHONHOME="$1" PYTHONDONTWRITEBYTECODE=1 python3 -s "$DIR/all.py" "$1" "$1/$below" "$1/$below/lib-dynload"
	else
		env PYTHONDONTWRITEBYTECODE=1 "$1/$python" "$DIR/all.py" "$1" "$1/$below"
	fi
}
export -f import_all
export home below python
sealed "$source"
same "$source" bash -c 'import_all PLACE'
n=$(sed -n 's/ modules, .*//p' "$DIR/said.got")
[ "${n:-0}" -ge 100 ] || fail "few modules could be imported: $(head -n 30 "$DIR/said.got")"
[ "$(grep -c '^PLACE/' "$DIR/said.got")" -ge 100 ] || fail "modules come from elsewhere: $(tail -n 5 "$DIR/said.got")"
echo "python: $(grep -m1 'modules, ' "$DIR/said.got"), $(grep -c ' [A-Za-z]*Error: ' "$DIR/said.got" || :) fail in both"

# ---- sqlite, by mmap
mkdir "$DIR/db"
cat >"$DIR/db.py" <<'PYTHON'
import sqlite3, sys
what, place = sys.argv[1:]
if what == "make":
    for mode in ("delete", "wal"):
        db = sqlite3.connect("%s/%s.db" % (place, mode))
        db.execute("pragma journal_mode=" + mode)
        db.execute("create table t (i integer primary key, text, n)")
        db.executemany("insert into t values (?, ?, ?)", ((i, "row %d " % i * 20, i % 97) for i in range(20000)))
        db.execute("create index by_n on t (n)")
        db.commit()
        db.close()
    sys.exit()
for mode in ("delete", "wal"):
    for how in ("mode=ro", "mode=rw", "mode=ro&immutable=1"):
        try:
            db = sqlite3.connect("file:%s/%s.db?%s" % (place, mode, how), uri=True)
            for each in ("mmap_size=1073741824", "integrity_check", "journal_mode"):
                print(mode, how, each, db.execute("pragma " + each).fetchall())
            print(db.execute("select count(*), sum(length(text)), sum(n * i) from t").fetchall(), db.execute("select i from t where n = 5 order by i desc limit 3").fetchall())
            if how == "mode=rw": db.execute("delete from t")
        except sqlite3.Error as e: print(mode, how, e)
PYTHON
if python3 -c 'import sqlite3' 2>/dev/null; then
	python3 "$DIR/db.py" make "$DIR/db"
	# A filesystem that cannot be written to is what it is measured by: there, what is in WAL mode opens as immutable only.
	mount --bind "$DIR/db" "$DIR/ro" && mount -o remount,bind,ro "$DIR/ro"
	sealed "$DIR/db"
	same "$DIR/ro" python3 "$DIR/db.py" read PLACE
	umount "$DIR/ro"
	[ "$(grep -c "integrity_check \[('ok',)\]" "$DIR/said.got")" -ge 4 ] || fail "sqlite: $(cat "$DIR/said.got")"
	[ "$(grep -c 'mmap_size=1073741824 \[(1073741824,)\]' "$DIR/said.got")" -ge 1 ] || echo "this sqlite maps less"
	echo "sqlite: $(grep -c integrity_check "$DIR/said.got") ways to open it, as on a read-only filesystem"
	if command -v sqlite3 >/dev/null; then
		same "$DIR/db" sqlite3 -readonly PLACE/delete.db 'pragma mmap_size=1000000000; pragma quick_check; select sum(n) from t;'
	fi
else
	echo "no sqlite in this python"
fi

# ---- perl: modules, one of them a library that is loaded
mkdir -p "$DIR/tree/perl" "$DIR/tree/bin"
if command -v perl >/dev/null && perl -MList::Util -MPOSIX -e 1 2>/dev/null; then
	for each in strict.pm warnings.pm vars.pm Exporter.pm XSLoader.pm List/Util.pm auto/List/Util/Util.so Text/Wrap.pm Text/Tabs.pm Carp.pm warnings/register.pm re.pm; do
		for at in $(perl -e 'print join " ", @INC'); do
			[ ! -e "$at/$each" ] || { mkdir -p "$DIR/tree/perl/$(dirname "$each")" && cp "$at/$each" "$DIR/tree/perl/$each"; break; }
		done
	done
	mkdir "$DIR/tree/perl/Own" && printf 'package Own::Thing;\nuse strict;\nsub say_it { return __FILE__ . " line " . __LINE__ }\n1;\n__DATA__\nsome data\n' >"$DIR/tree/perl/Own/Thing.pm"
	has_perl=yes
else
	has_perl=
	echo "no perl here"
fi

# ---- scripts: an interpreter in the tree, a way relative to the script, a library that is loaded by name
cp /bin/sh "$DIR/tree/bin/sh"
printf '#!%s/m/bin/sh\ncd "${0%%/*}/.." && . ./bin/part && say "$1"\n' "$DIR" >"$DIR/tree/bin/script"
printf '#!/usr/bin/env bash\nhere=$(dirname "$(readlink -f "$0")")\n. "$here/part"\nsay "$@"\n' >"$DIR/tree/bin/relative"
echo 'say() { echo "part says $1"; }' >"$DIR/tree/bin/part"
ln -s bin/relative "$DIR/tree/link"
chmod 755 "$DIR/tree/bin/script" "$DIR/tree/bin/relative"
if command -v gcc >/dev/null; then
	echo 'int answer(void) { return 42; }' | gcc -shared -fPIC -x c - -o "$DIR/tree/bin/libanswer.so"
	gcc -x c - -o "$DIR/tree/bin/loader" -Wl,-rpath,'$ORIGIN' -ldl <<'C'
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
	void *l = dlopen("libanswer.so", RTLD_NOW);
	int (*answer)(void) = l ? (int (*)(void))dlsym(l, "answer") : 0;
	printf("%d %s\n", answer ? answer() : -1, l ? "" : dlerror());
	return !answer;
}
C
fi

# ---- node and java
mkdir -p "$DIR/tree/js/node_modules/part/lib" "$DIR/tree/java"
echo '{"name": "part", "version": "1.2.3", "main": "lib/index.js"}' >"$DIR/tree/js/node_modules/part/package.json"
echo 'exports.sum = a => a.reduce((x, y) => x + y, 0); exports.place = __dirname;' >"$DIR/tree/js/node_modules/part/lib/index.js"
echo 'export const twice = x => 2 * x;' >"$DIR/tree/js/twice.mjs"
echo 'const p = require("part"); console.log(p.sum([1, 2, 3]), p.place, require("./node_modules/part/package.json").version); import("./twice.mjs").then(m => console.log(m.twice(21)));' >"$DIR/tree/js/main.js"
has_java=
if command -v javac >/dev/null && command -v jar >/dev/null && command -v java >/dev/null; then
	mkdir -p "$DIR/java/part"
	echo 'package part; public class Part { public static int twice(int x) { return 2 * x; } }' >"$DIR/java/part/Part.java"
	echo 'import part.Part; public class Main { public static void main(String[] a) throws Exception { System.out.println(Part.twice(21) + " " + new String(Main.class.getResourceAsStream("/data.txt").readAllBytes()).trim() + " " + Main.class.getProtectionDomain().getCodeSource().getLocation()); } }' >"$DIR/java/Main.java"
	echo data >"$DIR/java/data.txt"
	if (cd "$DIR/java" && javac part/Part.java Main.java && jar cfe "$DIR/tree/java/main.jar" Main Main.class part data.txt && mkdir "$DIR/tree/java/classes" && cp -r Main.class part data.txt "$DIR/tree/java/classes/") >"$DIR/out" 2>&1; then has_java=yes; fi
fi

sealed "$DIR/tree"
[ "$("$DIR/m/bin/script" x)" = "part says x" ] || fail "a script whose interpreter is in the mount"
same "$DIR/tree" PLACE/link y
contains "$DIR/said.got" "part says y"
if [ -x "$DIR/tree/bin/loader" ]; then
	same "$DIR/tree" PLACE/bin/loader
	contains "$DIR/said.got" 42
	same "$DIR/tree" python3 -c 'import ctypes; print(ctypes.CDLL("PLACE/bin/libanswer.so").answer())'
	contains "$DIR/said.got" 42
fi
if [ -n "$has_perl" ]; then
	same "$DIR/tree" perl -IPLACE/perl -MList::Util=sum,shuffle -MText::Wrap -MOwn::Thing -e 'print sum(1..10), " ", Own::Thing::say_it(), " ", <Own::Thing::DATA>, $INC{"List/Util.pm"}, " ", $INC{"Text/Wrap.pm"}, "\n"; print wrap("", "  ", "some words " x 20), "\n"'
	contains "$DIR/said.got" "55 PLACE/perl/Own/Thing.pm line 3 some data"
	contains "$DIR/said.got" "PLACE/perl/List/Util.pm"
	echo "perl: as from the original"
fi
if command -v node >/dev/null; then
	same "$DIR/tree" node PLACE/js/main.js
	contains "$DIR/said.got" "6 PLACE/js/node_modules/part/lib 1.2.3"
	contains "$DIR/said.got" 42
	echo "node: as from the original"
else
	echo "no node here"
fi
if [ -n "$has_java" ]; then
	same "$DIR/tree" java -Xshare:auto -XX:TieredStopAtLevel=1 -jar PLACE/java/main.jar
	contains "$DIR/said.got" "42 data file:PLACE/java/main.jar"
	same "$DIR/tree" java -XX:TieredStopAtLevel=1 -cp PLACE/java/classes Main
	contains "$DIR/said.got" "42 data"
	echo "java: as from the original"
else
	echo "no javac, jar and java that work here"
fi
expect 0 vine umount "$DIR/m"
