# SPDX-License-Identifier: Apache-2.0
# Makes a directory that holds what directories may hold, in every attribute: random-tree.py DIRECTORY SEED [EARLIEST [ENTRIES]], the earliest time in nanoseconds.
import os, random, sys
root, seed = os.fsencode(sys.argv[1]), int(sys.argv[2])
earliest = int(sys.argv[3]) if len(sys.argv) > 3 else -10**18
n_entries = int(sys.argv[4]) if len(sys.argv) > 4 else 700
r = random.Random(seed)
os.makedirs(root)
dirs, files = [root], []
sizes = 6 * [0, 1, 100, 4095, 4096, 4097, 32768, 131071, 131072, 131073] + 2 * [400000] + [3000000]
def name():
    kind = r.randrange(10)
    if kind == 0: return bytes(r.choice(b"abcdef") for _ in range(255))
    if kind == 1: return bytes(r.choice([x for x in range(1, 256) if x != 47]) for _ in range(1, 9)) + b"%d" % r.randrange(10**6)
    if kind == 2: return b" x\ny" + b"%d" % r.randrange(10**6)
    return b"n%d" % r.randrange(10**9)
for i in range(n_entries):
    d = r.choice(dirs)
    p = d + b"/" + name()
    if os.path.lexists(p) or len(p) > 3000: continue
    kind = r.randrange(20)
    if kind < 3: os.mkdir(p); dirs.append(p); continue
    if kind == 3: os.symlink(r.choice([b"nowhere", b"../..", b"/etc/passwd", b"a" * 1000, name()]), p); continue
    if kind == 4 and files: os.link(r.choice(files), p); continue
    if kind == 5:
        with open(p, "wb") as f: f.seek(r.randrange(5000000)); f.write(b"end"); f.truncate(f.tell() + 70000)
    else:
        with open(p, "wb") as f: f.write(r.randbytes(r.choice(sizes)))
    os.chmod(p, r.choice([0o644, 0o755, 0o600, 0o400, 0o444, 0o4755, 0o1777]))
    files.append(p)
deep = root
for i in range(60): deep += b"/deep%03d" % i; os.mkdir(deep); dirs.append(deep)
open(deep + b"/bottom", "wb").write(b"x")
for p in files + dirs[::-1]:
    os.utime(p, ns=(0, r.randrange(earliest, 2 * 10**18)))
