# SPDX-License-Identifier: Apache-2.0
"""Hosts as network namespaces: each behind a link of its own whose two directions tc tbf limits, joined by a bridge in a namespace that has nothing else.

Only ever used within namespaces that inside.py made: whatever is left here when that process ends, ends with it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

TCP = os.environ.get("VINE_BENCH_TCP", "cubic")  # what clusters have
GSO_SIZE = 16384  # a segment as the kernel hands it on; longer ones would pass a slow link in one burst
BURST = GSO_SIZE + 4096
QUEUE_SEC = 0.2  # of a port of a switch
READY_SEC = 60
END_SEC = 20
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The bench has no result; says what and why."""


class CannotRun(Exception):
    """This machine lacks something."""


def run(words: list[str], text: str | None = None, env: dict[str, str] | None = None, limit_sec: float = 60) -> str:
    """What the command printed; Failed if it did."""
    try:
        done = subprocess.run(
            words, input=text, env=env, timeout=limit_sec, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise Failed(f"{' '.join(words)}: not done after {limit_sec:.0f} s") from e
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: status {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def await_true(what: str, is_so, limit_sec: float = READY_SEC) -> None:
    end = time.monotonic() + limit_sec
    while not is_so():
        if time.monotonic() > end:
            raise Failed(f"after {limit_sec:.0f} s still not: {what}")
        time.sleep(0.01)


@dataclass
class Host:
    name: str
    number: int
    mbit: float  # 0: not limited
    mark: dict[str, int] = field(default_factory=dict)
    mount_pid: int = 0  # of a process in its own mount namespace, if it has one

    @property
    def address(self) -> str:
        return f"10.77.{self.number // 200}.{1 + self.number % 200}"

    def within(self, *words: str) -> list[str]:
        mounts = [f"--mount=/proc/{self.mount_pid}/ns/mnt"] if self.mount_pid else []
        return ["nsenter", f"--net=/run/netns/{self.name}", *mounts, "--", *words]


def shape(device: str, mbit: float) -> str:
    rate = mbit * 1e6 / 8
    return f"qdisc replace dev {device} root tbf rate {int(rate * 8)}bit burst {BURST}b limit {int(max(rate * QUEUE_SEC, 4 * BURST))}b\n"


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts: dict[str, Host] = {}
        self.daemons: dict[str, subprocess.Popen[str]] = {}
        self.ready: dict[str, str] = {}  # what each daemon said then
        self.vined: Path | None = None  # its state directory
        self.address = ""
        run(["ip", "netns", "add", "net"])
        self.in_net("ip", "link add net0 type bridge stp_state 0 forward_delay 0\nlink set net0 up\n")
        self.hub = self.add_host("hub", 0)

    # ---- links

    def in_net(self, tool: str, batch: str) -> None:
        run(["nsenter", "--net=/run/netns/net", "--", tool, "-batch", "-"], batch)

    def add_host(self, name: str, mbit: float) -> Host:
        host = Host(name, len(self.hosts) + 1, mbit)
        self.hosts[name] = host
        run(["ip", "netns", "add", name])
        self.in_net(
            "ip",
            f"link add p{host.number} type veth peer name e0 netns {name}\n"
            f"link set p{host.number} gso_max_size {GSO_SIZE} master net0 up\n",
        )
        run(
            host.within("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo {TCP} >/proc/sys/net/ipv4/tcp_congestion_control; ip -batch -"),
            f"link set lo up\nlink set e0 gso_max_size {GSO_SIZE} up\naddress add {host.address}/16 dev e0\n",
        )
        if mbit:
            self.in_net("tc", shape(f"p{host.number}", mbit))
            run(host.within("tc", "-batch", "-"), shape("e0", mbit))
        return host

    def remove_host(self, host: Host) -> None:
        """Of a host that is gone nobody hears any more."""
        self.in_net("ip", f"link delete p{host.number}\n")

    def counters(self) -> dict[str, tuple[int, int]]:
        """By host: bytes that it sent, that it got, since the last mark()."""
        at: dict[str, tuple[int, int]] = {}
        text = run(["nsenter", "--net=/run/netns/net", "--", "cat", "/proc/net/dev"])
        by_port = {f"p{h.number}": h for h in self.hosts.values()}
        for line in text.splitlines():
            port, _, figures = line.partition(":")
            host = by_port.get(port.strip())
            if host:
                words = figures.split()
                at[host.name] = (int(words[0]) - host.mark.get("sent", 0), int(words[8]) - host.mark.get("got", 0))
        return at

    def mark(self) -> None:
        for host in self.hosts.values():
            host.mark = {}
        now = self.counters()
        for host in self.hosts.values():
            host.mark = dict(zip(("sent", "got"), now.get(host.name, (0, 0))))

    # ---- daemons

    def start(self, host: Host, name: str, ready: str, words: list[str]) -> str:
        """A daemon in the background; its ready line."""
        with open(self.directory / f"{name}.log", "a", encoding="utf-8") as log:
            daemon = subprocess.Popen(host.within(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        assert daemon.stdout
        line = daemon.stdout.readline()
        self.daemons[name] = daemon
        self.ready[name] = line
        if not line.startswith(ready):
            raise Failed(f"{name} is not ready: {self.tail(name)}")
        return line

    def tail(self, name: str) -> str:
        text = (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-8:])

    def start_vined(self, *more: str) -> None:
        state = self.directory / "vined"
        line = self.start(self.hub, "vined", "vined ready", ["vined", f"--state={state}", f"--listen={self.hub.address}:0", *more])
        found = re.search(r"address=(\S+).* socket=(\S+)|socket=(\S+).* address=(\S+)", line)
        if not found:
            raise Failed(f"vined's ready line: {line}")
        self.address = found[1] or found[4]
        os.environ["VINE"] = found[2] or found[3]
        self.vined = state

    def start_node(self, host: Host, *more: str) -> None:
        self.start(
            host,
            host.name,
            "vinefs ready",
            [
                "vinefs",
                f"--state={self.directory / host.name}",
                f"--name={host.name}",
                f"--vined={self.address}",
                f"--secret={self.vined}/secret",
                f"--feature={host.name}",
                "--cores=2",
                "--cgroup=none",  # those of the host are left alone
                *more,
            ],
        )

    def start_nodes(self, hosts: list[Host], *more: str) -> None:
        for host in hosts:
            self.start_node(host, *more)

    def stop(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            status = daemon.wait(END_SEC)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{name} does not end on SIGTERM") from e
        if status != 0:
            raise Failed(f"{name} ended with status {status}: {self.tail(name)}")

    def kill(self, name: str) -> None:
        """The keeper and with it all it started, none of which says goodbye."""
        daemon = self.daemons.pop(name)
        for pid in descendants(daemon.pid):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        daemon.wait(END_SEC)

    def stop_all(self) -> None:
        """Nodes say no goodbye: each would first have copied away what nobody else has, to the next one."""
        for name in [name for name in self.daemons if name != "vined"]:
            self.kill(name)
        if "vined" in self.daemons:
            self.stop("vined")

    def end(self) -> None:
        """Stops what runs and takes the networks away: another world may come."""
        self.stop_all()
        for name in [*self.hosts, "net"]:
            run(["ip", "netns", "delete", name])

    # ---- what is where

    def on(self, host: Host, *words: str, limit_sec: float = 60) -> str:
        """vine, beside the node of this host."""
        return run(host.within("vine", *words), env={**os.environ, "VINE_NODE": str(self.directory / host.name)}, limit_sec=limit_sec)

    def trees(self, host: Host) -> dict[str, tuple[int, int]]:
        """By id: bytes that are there, that there are."""
        return {t["tree"]: (t["resident"], t["size"]) for t in json.loads(self.on(host, "cache", "ls", "--json"))["trees"]}

    def seal(self, host: Host, path: Path) -> str:
        found = re.search(r"[0-9a-f]{64}", self.on(host, "seal", str(path), limit_sec=300))
        if not found:
            raise Failed(f"vine seal {path} names no tree")
        return found[0]

    def is_whole(self, host: Host, tree: str) -> bool:
        here, size = self.trees(host).get(tree, (0, 1))
        return here == size


# ---- what it costs


def stat_of(pid: int) -> tuple[str, int, float] | None:
    """Name, parent, seconds of CPU, with those of children that have ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return name, int(rest[1]), sum(int(n) for n in rest[11:15]) / TICKS


def pids() -> list[int]:
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def descendants(root: int) -> list[int]:
    of: dict[int, list[int]] = defaultdict(list)
    for pid in pids():
        at = stat_of(pid)
        if at:
            of[at[1]].append(pid)
    found = [root]
    for pid in found:
        found += of[pid]
    return found


class Cost:
    """CPU of all that runs here, by program, and how busy the machine was with anything."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.before = self.look()
        self.machine = self.look_machine()

    @staticmethod
    def look() -> dict[int, tuple[str, float]]:
        return {pid: ("what has ended" if pid == os.getpid() else at[0], at[2]) for pid in pids() if (at := stat_of(pid))}

    @staticmethod
    def look_machine() -> tuple[int, int]:
        figures = [int(n) for n in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
        return sum(figures), figures[3] + figures[4]

    def text(self) -> tuple[str, float, float]:
        """In words; cores of ours; the machine's busy share."""
        sec = time.monotonic() - self.began
        by_name: dict[str, float] = defaultdict(float)
        for pid, (name, used) in self.look().items():
            by_name[name] += used - self.before.get(pid, ("", 0.0))[1]
        after = self.look_machine()
        n_all = max(after[0] - self.machine[0], 1)
        busy = 1 - (after[1] - self.machine[1]) / n_all
        ours = sum(by_name.values()) / sec
        most = sorted(by_name.items(), key=lambda x: -x[1])[:4]
        parts = ", ".join(f"{name} {used:.2f} s" for name, used in most if used >= 0.01)
        return f"CPU {ours:.2f} cores of {os.cpu_count()} ({parts}); the machine was {busy * 100:.0f} % busy", ours, busy
