# SPDX-License-Identifier: Apache-2.0
"""What the swarm is compared with: whole files by store-and-forward. Who has all of the file gives it to at most k others at once; a scheduler that knows every
host's state starts the next transfer the moment one is through, from the holder that has least to do. No encryption, no digests: as fast as it can be.

    whole.py FILE PORT    an agent on a host: gives FILE to whoever connects, and takes orders on standard input: "get ADDRESS", answered by "got" or why not
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from world import CannotRun, Failed, Host

PORT = 7070
LIMIT_SEC = 300


# ---- the agent


def give(to: socket.socket, path: str) -> None:
    with to, open(path, "rb") as f:
        at, size = 0, os.fstat(f.fileno()).st_size
        while at < size:
            n = os.sendfile(to.fileno(), f.fileno(), at, 1 << 20)
            if n == 0:
                break
            at += n


def serve(listener: socket.socket, path: str) -> None:
    while True:
        to, _ = listener.accept()
        threading.Thread(target=give, args=(to, path), daemon=True).start()


def get(address: str, port: int, path: str) -> None:
    room = memoryview(bytearray(1 << 18))
    with socket.create_connection((address, port), timeout=60) as c, open(path + ".part", "wb", buffering=0) as f:
        while n := c.recv_into(room):
            f.write(room[:n])
    os.rename(path + ".part", path)


def agent(path: str, port: int) -> None:
    listener = socket.create_server(("0.0.0.0", port), backlog=64)
    threading.Thread(target=serve, args=(listener, path), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            get(line.split()[1], port, path)
            print("got", flush=True)
        except OSError as e:
            print(f"failed: {e}", flush=True)


# ---- the scheduler


class Agents:
    """One on each host; the first has the file."""

    def __init__(self, hosts: list[Host], directory: Path) -> None:
        self.hosts = hosts
        self.paths = [directory / host.name / "whole" for host in hosts]
        self.agents: list[subprocess.Popen[str]] = []
        for host, path in zip(hosts, self.paths):
            path.parent.mkdir(exist_ok=True)
            self.agents.append(
                subprocess.Popen(
                    host.within(sys.executable, __file__, str(path), str(PORT)),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                )
            )
        for each in self.agents:
            assert each.stdout
            if each.stdout.readline() != "ready\n":
                raise CannotRun("an agent of store-and-forward does not start")

    def order(self, to: int, giver: int) -> None:
        pipe = self.agents[to].stdin
        assert pipe
        pipe.write(f"get {self.hosts[giver].address}\n")
        pipe.flush()

    def spread(self, source: Path, k: int, on_got: Callable[[int], None] = lambda i: None) -> list[float]:
        """When each of the others had all of it, in seconds from now, sorted. on_got: the i-th host has it."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        os.link(source, self.paths[0])
        on_got(0)
        holders, waiting = {0: 0}, list(range(1, len(self.hosts)))
        from_whom: dict[int, int] = {}
        times: list[float] = []
        began = time.monotonic()
        with selectors.DefaultSelector() as ready:
            for i, each in enumerate(self.agents):
                assert each.stdout
                ready.register(each.stdout, selectors.EVENT_READ, i)
            while len(times) < len(self.hosts) - 1:
                while waiting and min(holders.values()) < k:
                    giver = min(holders, key=lambda i: holders[i])
                    holders[giver] += 1
                    from_whom[waiting[0]] = giver
                    self.order(waiting.pop(0), giver)
                for key, _ in ready.select(LIMIT_SEC) or self.late():
                    said = key.fileobj.readline()
                    if said != "got\n":
                        raise Failed(f"store-and-forward to {self.hosts[key.data].name}: {said.strip()}")
                    times.append(time.monotonic() - began)
                    holders[from_whom.pop(key.data)] -= 1
                    holders[key.data] = 0
                    on_got(key.data)
        return times

    @staticmethod
    def late() -> list:
        raise Failed(f"store-and-forward: nothing within {LIMIT_SEC} s")

    def stop(self) -> None:
        for each in self.agents:
            each.kill()
            each.wait()


if __name__ == "__main__":
    agent(sys.argv[1], int(sys.argv[2]))
