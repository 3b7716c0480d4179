# SPDX-License-Identifier: Apache-2.0
# once
# deadline: 360
# Unmodified tools over `vine mount`: a compiler that is itself sealed, git, static programs, tar, rsync, find, du. What they say of the mount is what they say of
# the original.
. "$SRC/tests/system/lib.sh"

[ -e /dev/fuse ] || skip "no /dev/fuse"
command -v gcc >/dev/null || skip "no gcc"
start n1 'vinefs ready' vinefs --vined=none --state="$DIR/n1"
export VINE_NODE=$DIR/n1
mkdir "$DIR/m" "$DIR/s" "$DIR/r"
trap 'umount -l "$DIR/m" "$DIR/s" "$DIR/r" 2>/dev/null || :; on_exit' EXIT
mount_sealed() { # SOURCE DIR: whole, and from the cache alone: the source is out of the way until put_back
	expect 0 vine seal -q "$1" --name t-tree
	expect 0 vine mount -q t-tree "$2"
	mv "$1" "$1.away"
}
put_back() { mv "$1.away" "$1"; }

# ---- gcc: this project's own sources, by a copy of the compiler that is sealed too; the host's is hidden.
flags=(-std=gnu11 -O1 -ffunction-sections -D_GNU_SOURCE -DPACKAGE_VERSION='"x"' -I.)
for each in BINDIR SBINDIR LIBEXECDIR SYSCONFDIR LOCALSTATEDIR; do flags+=(-D$each='"/x"'); done
mkdir -p "$DIR/src" "$DIR/kit"
cp -r "$SRC/common" "$SRC/data" "$DIR/src/"
units=($(cd "$DIR/src" && ls data/*.c common/[a-d]*.c))
HIDE=$(dirname "$(gcc -print-libgcc-file-name)")
AR=$(command -v ar)
export HIDE AR

copy() { # FILE...: to the same place below the kit, links followed
	local each
	for each; do
		mkdir -p "$DIR/kit$(dirname "$each")" && cp -L "$each" "$DIR/kit$each"
	done
}
cat >"$DIR/src/static.c" <<'C'
#include <stdio.h>
#include <string.h>
#include <math.h>
int main(int n, char **v) { printf("%d %s %.3f\n", n, strrchr(v[0], '/') + 1, sqrt(2.0)); return 0; }
C
make_kit() {
	local each
	copy "$(command -v gcc)" "$(gcc -print-prog-name=cc1)" "$(gcc -print-prog-name=collect2)"
	for each in as ld ar; do copy "$(command -v $each)"; done
	copy $(cd "$DIR/src" && gcc "${flags[@]}" -M static.c "${units[@]}" | tr -d '\\' | tr ' ' '\n' | grep '^/' | xargs realpath -s | sort -u)
	for each in crt1.o rcrt1.o crti.o crtn.o crtbeginT.o crtbeginS.o crtbegin.o crtend.o crtendS.o libgcc.a libgcc_eh.a libc.a libm.a libmvec.a liblto_plugin.so lto-wrapper; do
		each=$(gcc -print-file-name=$each)
		case $each in /*) copy "$(realpath -s "$each")" ;; esac
	done
	for each in $(grep -o '/[^ ]*libm[^ ]*\.a' "$(gcc -print-file-name=libm.a)" 2>/dev/null || :); do copy "$each"; done
}
have_libc=yes
case $(gcc -print-file-name=libc.a) in /*) ;; *) have_libc= ;; esac

cat >"$DIR/build.sh" <<'SHELL' # KIT SOURCES TO FLAGS...: compiles with what lies in the kit, and nothing else
set -e
kit=$1 src=$2 to=$3 have_libc=$4
shift 4
gcc=$kit$(command -v gcc)
if [ "$kit" = /mnt/m ]; then
	mount -t tmpfs tmpfs "$HIDE" # the host's cc1, and its headers
	mount -t tmpfs tmpfs /usr/include
	for each in as ld ar; do mount --bind /dev/null "$(realpath "$(command -v $each)")"; done
	! echo 'int i;' | env gcc -xc -c - -o /dev/null 2>/dev/null || { echo "the host's compiler is not hidden" >&2; exit 1; }
fi
run() { "$gcc" --sysroot="$kit" -B"$kit$HIDE/" -B"$kit/usr/bin/" "$@"; }
mkdir -p "$to"
cd "$src"
while [ $# -gt 0 ] && [ "$1" != -- ]; do flags+=("$1"); shift; done
shift
for each; do run "${flags[@]}" -c "$each" -o "$to/$(basename "$each" .c).o"; done
"$kit$AR" rcsD "$to/lib.a" "$to"/*.o
if [ -n "$have_libc" ]; then
	run "${flags[@]}" -static static.c -lm -o "$to/static"
	run "${flags[@]}" -static-pie -fPIE static.c -lm -o "$to/static-pie"
fi
SHELL
make_kit
build() { unshare --mount bash "$DIR/build.sh" "$1" "$2" "$3" "$have_libc" "${flags[@]}" -- "${units[@]}" >"$DIR/out" 2>&1 || fail "compiling in $1: $(cat "$DIR/out")"; }
build "$DIR/kit" "$DIR/src" "$DIR/want"
objects=$(ls "$DIR/want"/*.o | wc -l)
mount_sealed "$DIR/kit" "$DIR/m"
mount_sealed "$DIR/src" "$DIR/s"
build "$DIR/m" "$DIR/s" "$DIR/got"
diff -r "$DIR/want" "$DIR/got" || fail "the mount's compiler makes something else"
[ "$objects" = ${#units[@]} ] && [ "$objects" -ge 15 ] || fail "$objects objects of ${#units[@]} units"
echo "gcc: ${#units[@]} units by a sealed compiler of $(du -sm "$DIR/kit.away" | cut -f 1) MB, as by the original"
expect 0 vine umount "$DIR/m" "$DIR/s"
put_back "$DIR/src"
rm -rf "$DIR/kit.away"

# ---- static programs: nothing but the kernel looks at them
mkdir "$DIR/static"
if [ -n "$have_libc" ]; then
	cp "$DIR/got/static" "$DIR/got/static-pie" "$DIR/static/"
else
	echo "no static libc: no static C program"
fi
home=$(getent passwd "$(id -u)" | cut -d : -f 6)
rust() { HOME=$home rustc -O -C target-feature=+crt-static "$DIR/hello.rs" -o "$DIR/static/rust"; }
echo 'fn main() { let v: Vec<String> = std::env::args().collect(); println!("{} rust {:?}", v.len(), std::fs::metadata(std::env::current_exe().unwrap()).unwrap().len() > 1000); }' >"$DIR/hello.rs"
if command -v rustc >/dev/null && rust 2>"$DIR/err"; then echo "rust: compiled"; else echo "no rustc that works here"; fi
mkdir "$DIR/hello" && cat >"$DIR/hello/main.go" <<'GO'
package main

func main() { println("go") }
GO
printf 'module hello\n\ngo 1.18\n' >"$DIR/hello/go.mod"
go_build() { (cd "$DIR/hello" && HOME=$home GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0 go build -o "$DIR/static/go" .); }
if [ -e "$DIR/static/rust" ] && [ "${SOAK:-0}" = 0 ]; then
	echo "go: only in soak where there is a rustc"
elif command -v go >/dev/null && go_build 2>"$DIR/err"; then
	echo "go: compiled"
else
	echo "no go that works here"
fi
for each in "$DIR/static"/*; do [ ! -e "$each" ] || "$each" >"$DIR/want.${each##*/}" 2>&1; done
mount_sealed "$DIR/static" "$DIR/m"
for each in "$DIR/m"/*; do
	[ -e "$each" ] || continue
	"$each" >"$DIR/out" 2>&1 || fail "$each"
	cmp "$DIR/out" "$DIR/want.${each##*/}"
	echo "ran: ${each##*/}"
done
expect 0 vine umount "$DIR/m"

# ---- git: a sealed checkout is clean, though every inode number and ctime in its index is another's
if command -v git >/dev/null; then
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	git init -q "$DIR/repo"
	cp -r "$DIR/src/common" "$DIR/src/data" "$DIR/repo/"
	ln -s common/buf.h "$DIR/repo/link"
	git -C "$DIR/repo" add . && git -C "$DIR/repo" -c user.name=x -c user.email=x@x commit -qm x
	touch -d '1 hour ago' "$DIR/repo"/*/* && git -C "$DIR/repo" update-index -q --refresh
	mount_sealed "$DIR/repo" "$DIR/m"
	in_mount() { git -C "$DIR/m" -c safe.directory='*' "$@"; }
	expect 0 in_mount status --porcelain
	[ ! -s "$DIR/out" ] || fail "git sees changes: $(cat "$DIR/out")"
	expect 0 in_mount fsck --strict
	expect 0 in_mount diff --exit-code HEAD
	expect 0 in_mount log --stat --format=%H
	expect 0 git -c safe.directory='*' clone -q "$DIR/m" "$DIR/clone"
	diff -r --exclude=.git "$DIR/repo.away" "$DIR/clone"
	# So that it need not read every file to know that: git's own setting, size and time alone.
	if command -v strace >/dev/null; then
		opened() { strace -f -qq -e trace=openat,open -o "$DIR/trace" git -C "$DIR/m" -c safe.directory='*' "$@" status --porcelain; grep -c '"common/[a-z_]*\.[ch]"' "$DIR/trace" || :; }
		echo "git status opens $(opened) files of common/, with core.checkStat=minimal and core.trustctime=false $(opened -c core.checkStat=minimal -c core.trustctime=false)"
		[ "$(opened -c core.checkStat=minimal -c core.trustctime=false)" = 0 ] || fail "git reads files whose size and time are right"
	fi
	expect 0 vine umount "$DIR/m"
	put_back "$DIR/repo"
else
	echo "no git here"
fi

# ---- the whole tree, as copying and listing programs see it
src=$DIR/repo
mkdir "$src/odd" && : >"$src/odd/empty" && ln -s nowhere "$src/odd/dangling" && truncate -s 3M "$src/odd/sparse"
chmod 0750 "$src/odd" && chmod 0400 "$src/odd/empty"
head -c 3000000 /dev/urandom >"$src/odd/large"
ln "$src/odd/large" "$src/odd/hard"
printf x >"$src/odd/$(printf 'not\377utf8')"
expect 0 vine seal -q "$src" --name t-tree
expect 0 vine mount -q t-tree "$DIR/m"
# Said by the manual: hard links are files of their own; owner and group are the mount's.
packed() { tar --sort=name --hard-dereference --numeric-owner --owner=0 --group=0 -C "$1" -cf - . | sha256sum; }
[ "$(packed "$src")" = "$(packed "$DIR/m")" ] || fail "tar: it is not the same"
listed() { (cd "$1" && find . \( -type d -printf '%p %y %m %n %T@\n' \) -o \( -type f -printf '%p %y %m %s %T@\n' \) -o -printf '%p %y %m %s %T@ %l\n' | sort); }
listed "$src" >"$DIR/want.list"
listed "$DIR/m" >"$DIR/got.list"
cmp "$DIR/want.list" "$DIR/got.list" || fail "find: $(diff "$DIR/want.list" "$DIR/got.list" | head -n 4)"
sizes() { (cd "$1" && find . -type f -printf '%P\0' | sort -z | du -l --apparent-size -b --files0-from=- | sort -k 2); }
cmp <(sizes "$src") <(sizes "$DIR/m") || fail "du: sizes differ"
if command -v rsync >/dev/null; then
	expect 0 rsync -aAX --checksum --dry-run --itemize-changes --delete "$src/" "$DIR/m/"
	[ "$(grep -cv '^\.d..t' "$DIR/out" || :)" = 0 ] || fail "rsync sees changes: $(cat "$DIR/out")"
	expect 0 rsync -aX --checksum "$DIR/m/" "$DIR/copied/"
	diff -r --no-dereference "$src" "$DIR/copied"
	echo "rsync: equal"
else
	echo "no rsync here"
fi
cp -a "$DIR/m" "$DIR/copy"
diff -r --no-dereference "$src" "$DIR/copy"
expect 0 vine umount "$DIR/m"
