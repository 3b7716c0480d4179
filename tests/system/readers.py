# SPDX-License-Identifier: Apache-2.0
"""Eight threads read FILE, its pages dropped first, and compare it with GOOD, until STOP exists. Prints a line once all have begun; fails on any difference or error."""
import os
import random
import sys
import threading

name, good, stop = sys.argv[1:4]
with open(good, "rb") as f:
    want = f.read()
bad: list[str] = []
begun = threading.Barrier(8, action=lambda: print("begun", flush=True))


def read(seed: int) -> None:
    choice = random.Random(seed)
    first = True
    while not bad and not os.path.exists(stop):
        try:
            fd = os.open(name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            at = choice.randrange(len(want))
            got = os.pread(fd, 1 << 16, at)
            os.close(fd)
        except OSError as e:
            bad.append(str(e))
            break
        if got != want[at : at + len(got)] or not got:
            bad.append(f"{len(got)} wrong bytes at {at}")
        if first:
            begun.wait()
        first = False


threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(*bad, sep="\n")
sys.exit(bool(bad))
