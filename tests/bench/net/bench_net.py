#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benches on networks of their own: run under the name of one, as make bench does, or with it as the only word.

All of it happens in private mount, network and process namespaces and a directory below $VINE_BENCH_DIR (default /var/tmp). Whatever ends this process, kill -9 too,
ends the others, with them namespaces and mounts; a janitor that outlives it removes the directory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import churn
import paper
import small
import start
import swarm
from world import CannotRun, Failed, World

# Name: what runs it, the seconds it may take.
BENCHES = {
    "swarm": (swarm.swarm, 1800),
    "swarm-source": (swarm.source, 300),
    "swarm-check": (swarm.check, 80),
    "swarm-paper": (paper.paper, 1800),
    "swarm-churn": (churn.churn, 1200),
    "start": (start.start, 900),
    "peer-small": (small.small, 300),
}
PR_SET_PDEATHSIG = 1
CANNOT = 77


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def unshare() -> list[str]:
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--propagation", "private"]
    return words if os.getuid() == 0 else [*words, "--user", "--map-root-user"]


# ---- inside: process 1 of the namespaces


def inside(name: str, directory: Path) -> int:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    os.environ.update(HOME=str(directory / "home"), LC_ALL="C")
    for each in ("VINE", "VINE_NODE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        os.environ.pop(each, None)
    (directory / "home").mkdir()
    try:
        BENCHES[name][0](lambda: World(Path(tempfile.mkdtemp(prefix="w", dir=directory))))
        return 0
    except CannotRun as e:
        print(f"{name}: cannot run here: {e}", flush=True)
        return CANNOT
    except Failed as e:
        print(f"{name}: no result: {e}", file=sys.stderr, flush=True)
        return 1
    except Exception:
        traceback.print_exc()
        return 1


# ---- outside


def janitor(directory: str) -> tuple[int, int]:
    """Its process id, and what to close when the directory is to go: also closed by our end."""
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(here)
        return pid, there
    os.setsid()
    os.close(there)
    os.read(here, 1)
    for _ in range(600):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.exists(directory):
            break
        time.sleep(0.05)
    os._exit(0)


def on_signal(signo: int, _frame: object) -> None:
    raise KeyboardInterrupt(signo)


def outside(name: str) -> int:
    base = os.environ.get("VINE_BENCH_DIR") or "/var/tmp"
    if subprocess.run([*unshare(), "ip", "link", "set", "lo", "up"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print(f"{name}: cannot run here: no private mount, network and process namespaces")
        return CANNOT
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, on_signal)
    directory = tempfile.mkdtemp(prefix="vine-bench-", dir=base)
    pid, pipe = janitor(directory)
    child = None
    try:
        child = subprocess.Popen(
            [*unshare(), sys.executable, os.path.realpath(__file__), "--inside", name, directory],
            preexec_fn=die_with_parent, stdin=subprocess.DEVNULL,
        )
        return child.wait(BENCHES[name][1])
    except subprocess.TimeoutExpired:
        print(f"{name}: takes too long, no result", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 1
    finally:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        if child:
            child.kill()
            child.wait()
        if os.environ.get("VINE_BENCH_KEEP"):
            print(f"{name}: {directory} is left, VINE_BENCH_KEEP", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
        os.close(pipe)
        os.waitpid(pid, 0)


def main() -> int:
    if sys.argv[1:2] == ["--inside"]:
        return inside(sys.argv[2], Path(sys.argv[3]))
    own = os.path.basename(sys.argv[0]).removeprefix("bench_").replace("_", "-")
    name = sys.argv[1] if len(sys.argv) > 1 else own
    if name not in BENCHES:
        print(f"usage: bench_net.py {'|'.join(BENCHES)}", file=sys.stderr)
        return 125
    return outside(name)


if __name__ == "__main__":
    sys.exit(main())
