# SPDX-License-Identifier: Apache-2.0
"""S bytes from one host that has them to N others, beside whole files by store-and-forward in the same networks."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from result import IS_QUICK, Result, Series, rounds
from shared import Shared
from whole import Agents
from world import CannotRun, Cost, Failed, Host, World

MB = 1000000
UPLOADS = (1, 3, 10)
SENT_MOST, LAST_MOST = 2.5, 3.5
SHARED_MBIT = 200  # of the file server: as four of sixteen hosts can take
MakeWorld = Callable[[], World]


@dataclass
class Case:
    n: int
    mbit: float
    size: int
    target: float

    @property
    def wire_sec(self) -> float:
        return self.size * 8 / (self.mbit * 1e6)


CASES = [Case(8, 100, 25 * MB, 1.12), Case(16, 50, 12500000, 1.20), Case(32, 25, 6250000, 1.40)]
CHECKED = CASES[1]


def make_file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.randbytes(size))
    age(path)
    return path


def make_small_files(path: Path, size: int, each: int = 8192) -> Path:
    """A tree of files of some KB, a hundred to a directory."""
    for i in range(size // each):
        folder = path / f"{i // 100:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i % 100:02}").write_bytes(random.randbytes(each))
    for folder, _, names in os.walk(path):
        for name in names:
            age(Path(folder) / name)
    age(path)
    return path


def age(path: Path) -> None:
    """What is younger than two seconds is not remembered as it was."""
    os.utime(path, (981158400, 981158400))


def post_path() -> str:
    found = shutil.which("post", path=f"{os.environ.get('BUILD', '.')}/tests/system:{os.environ['PATH']}")
    if not found:
        raise CannotRun("tests/system/post is not built, or $BUILD does not lead to it: make bench has both")
    return found


class Orders:
    """Tasks that are posted at once; how each ended and when, as it comes."""

    def __init__(self, world: World, n: int, *words: str, run: str = "") -> None:
        self.began = time.monotonic()
        self.n = n
        self.said: list[str] = []  # the first line that each wrote
        env = {**os.environ, "SHOW": "task how status out reason err", **({"RUN": run} if run else {})}
        self.process = subprocess.Popen(
            world.hub.within(post_path(), str(n), *words), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def times(self) -> list[float]:
        """Seconds from the order until each ended well, sorted."""
        times: list[float] = []
        assert self.process.stdout and self.process.stderr
        for line in self.process.stdout:
            times.append(time.monotonic() - self.began)
            words = line.rstrip("\n").split(" ", 3)
            if words[1:3] != ["exited", "0"]:
                raise Failed(f"a task ended so: {line.strip()}")
            self.said.append(words[3])
        if self.process.wait() != 0 or len(times) != self.n:
            raise Failed(f"{len(times)} of {self.n} tasks ended: {self.process.stderr.read().strip()}")
        return times


def stage(world: World, name: str, n: int, group: str = "n") -> Orders:
    """All of it to n1 to nN, by tasks that start when all of it is there."""
    return Orders(world, n, f"in=temp:{name}@data", "staging=full", f"feature={group}{{i}}", "true", run=name)


def seal(world: World, host: Host, path: Path) -> str:
    """What a task on this host left, so that it is nowhere else, and cannot be read from a disk that all share here: its name, and the tree."""
    before = set(world.trees(host))
    name = path.name
    Orders(world, 1, f"out=data@{name}", f"feature={host.name}", "cp", "-a", str(path), "data", run=name).times()
    new = [tree for tree in world.trees(host) if tree not in before]
    if len(new) != 1 or not world.is_whole(host, new[0]):
        raise Failed(f"{path} did not become a tree on {host.name}: {world.trees(host)}")
    return new[0]


def make_hosts(world: World, n: int, mbit: float, group: str = "n") -> list[Host]:
    return [world.add_host(f"{group}{i + 1}", mbit) for i in range(n)]


def check_whole(world: World, hosts: list[Host], tree: str) -> None:
    for host in hosts:
        if not world.is_whole(host, tree):
            raise Failed(f"not all of the tree {tree} is on {host.name}: {world.trees(host)}")


@dataclass
class Run:
    last: Series
    mean: Series
    sent: Series  # by the source, over S


def measure_swarm(world: World, hosts: list[Host], case: Case, path: Path, run: Run) -> str:
    tree = seal(world, hosts[0], path)
    world.mark()
    cost = Cost()
    times = stage(world, path.name, case.n).times()
    words, _, _ = cost.text()
    counters = world.counters()
    sent = counters["source"][0] / case.size
    check_whole(world, hosts[1:], tree)
    beside = [h.name for h in hosts[1:] if counters[h.name][1] < case.size]
    if beside:
        raise Failed(f"what {' '.join(beside)} has did not all come over the network")
    run.last.values.append(times[-1] / case.wire_sec)
    run.mean.values.append(sum(times) / len(times) / case.wire_sec)
    run.sent.values.append(sent)
    return words


def measure(result: Result, make_world: MakeWorld, case: Case, n_rounds: int) -> float:
    world = make_world()
    hosts = [world.add_host("source", case.mbit), *make_hosts(world, case.n, case.mbit)]
    world.start_vined()
    world.start_nodes(hosts)
    agents = Agents(hosts, world.directory)
    key = f"n{case.n}"
    swarm, small = (Run(Series([]), Series([]), Series([])) for _ in range(2))
    whole = {k: Series([]) for k in UPLOADS}
    bare = Series([])
    words = ""
    for i in range(n_rounds):
        path = make_file(world.directory / f"file{i}", case.size)
        words = measure_swarm(world, hosts, case, path, swarm)
        for k in UPLOADS:
            times = agents.spread(path, k)
            whole[k].values.append(times[-1] / case.wire_sec)
            if k == 1:
                bare.values.append(times[0] / case.wire_sec)
        measure_swarm(world, hosts, case, make_small_files(world.directory / f"small{i}", case.size), small)
    result.say(f"{case.n} hosts of {case.mbit:g} Mbit/s, {case.size / MB:g} MB, S/b = {case.wire_sec:.2f} s; x S/b, median (least-most) of {n_rounds}")
    result.say(f"  swarm, one file         last {swarm.last}  mean {swarm.mean}  source sent {swarm.sent} S   target {case.target}")
    result.say(f"  swarm, files of 8 KiB   last {small.last}  mean {small.mean}  source sent {small.sent} S")
    for k in UPLOADS:
        result.say(f"  whole file, {k:2} uploads  last {whole[k]}")
        result.note(f"{key}_whole_{k}", whole[k])
    result.say(f"  one transfer of a bare file {bare}: what is over 1 are headers")
    result.say(f"  {words}")
    for name, series in (("last", swarm.last), ("mean", swarm.mean), ("source", swarm.sent), ("small_last", small.last), ("bare", bare)):
        result.note(f"{key}_{name}", series)
    agents.stop()
    world.end()
    return swarm.last.median


def swarm(make_world: MakeWorld) -> None:
    result = Result("swarm")
    only = os.environ.get("VINE_BENCH_HOSTS")
    cases = [c for c in CASES if (str(c.n) == only if only else not IS_QUICK or c.n == 8)]
    if not cases:
        raise CannotRun("VINE_BENCH_HOSTS is one of 8, 16, 32")
    at = {case.n: measure(result, make_world, case, rounds(5)) for case in cases}
    result.end(at.get(16, at[cases[0].n]), "x S/b", "1.20 at 16; 1.12 at 8, 1.40 at 32")


def source(make_world: MakeWorld) -> None:
    """16 empty hosts want a directory that lies on a shared path."""
    result, world, case = Result("swarm-source"), make_world(), CASES[1]
    hosts = make_hosts(world, case.n, case.mbit)
    shared = Shared(world, world.directory / "source", SHARED_MBIT)
    n_rounds = rounds(3)
    for i in range(n_rounds):
        make_file(world.directory / "source" / f"file{i}", case.size)
        make_small_files(world.directory / "source" / f"small{i}", case.size)
    for host in [world.hub, *hosts]:
        shared.mount(host)
    world.start_vined()
    world.start_nodes(hosts)
    read, last = {k: Series([]) for k in ("file", "small")}, {k: Series([]) for k in ("file", "small")}
    cost = Cost()
    for i in range(n_rounds):
        for kind, series in read.items():
            before = shared.read()[0]
            times = Orders(world, case.n, f"in={shared.place}/{kind}{i}@data", "staging=full", "feature=n{i}", "true").times()
            series.values.append((shared.read()[0] - before) / case.size)
            last[kind].values.append(times[-1] / case.wire_sec)
    result.say(f"{case.n} hosts of {case.mbit:g} Mbit/s, {case.size / MB:g} MB on a shared path of {SHARED_MBIT:g} Mbit/s; median (least-most) of {n_rounds}")
    for kind, words in (("file", "one file"), ("small", "files of 8 KiB")):
        result.say(f"  {words:<15} read {read[kind]} S, last host after {last[kind]} S/b")
        result.note(f"{kind}_read", read[kind])
        result.note(f"{kind}_last", last[kind])
    result.say(f"  {cost.text()[0]}")
    world.stop_all()
    shared.unmount_all()
    result.end(max(s.median for s in read.values()), "x S", "1.02")


def check(make_world: MakeWorld) -> None:
    """What CI runs, where others may work beside it: whole files, however they go, take 5 S/b or 5 S of the source at the least."""
    case, world = CHECKED, make_world()
    hosts = [world.add_host("source", case.mbit), *make_hosts(world, case.n, case.mbit)]
    world.start_vined()
    world.start_nodes(hosts)
    run = Run(Series([]), Series([]), Series([]))
    words = measure_swarm(world, hosts, case, make_file(world.directory / "file", case.size), run)
    print(f"last {run.last} x S/b, mean {run.mean}, source sent {run.sent} S; {words}", flush=True)
    for host in hosts[1:]:
        world.on(host, "cache", "verify")
    world.stop_all()
    if run.sent.median > SENT_MOST:
        raise Failed(f"the source sent {run.sent.median:.2f} S: the others do not give what they have")
    if run.last.median > LAST_MOST:
        raise Failed(f"the last host had all of it after {run.last.median:.2f} S/b")
