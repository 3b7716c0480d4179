# SPDX-License-Identifier: Apache-2.0
"""The founding paper's experiment, small: an environment of numpy and scipy on a shared path, 16 hosts, a Python task on each. By Vine; (a) by every host reading the
shared path itself; (b) by a tarball that goes whole from host to host, three uploads at once, and is extracted on each."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from result import IS_QUICK, Result, Series, rounds
from shared import Shared
from swarm import SHARED_MBIT, MakeWorld, Orders
from whole import Agents
from world import CannotRun, Cost, Failed, Host, World, run

N, MBIT, UPLOADS = 16, 50, 3
TASK = "import numpy, scipy.linalg; a = numpy.arange(10000.0).reshape(100, 100) % 7 + numpy.eye(100); print(scipy.linalg.solve(a, a).trace())"
LIMIT_SEC = 600


def environment() -> Path:
    """Made once, below the build directory, unless VINE_BENCH_SCIENCE names one."""
    named = os.environ.get("VINE_BENCH_SCIENCE")
    place = Path(named or os.path.join(os.environ.get("BUILD", "."), "bench-env-science")).resolve()
    program = Path(__file__).resolve().parent.parent / "make-env"
    made = subprocess.run([str(program), "science", str(place)], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        raise CannotRun(made.stdout.strip().splitlines()[-1])
    return place


def size_of(place: Path) -> int:
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(place) for name in names)


class Tasks:
    """Programs on hosts, each timed on its own from one moment."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.times: list[float] = []
        self.faults: list[str] = []
        self.threads: list[threading.Thread] = []

    def start(self, host: Host, words: list[str]) -> None:
        thread = threading.Thread(target=self.run, args=(host, words))
        self.threads.append(thread)
        thread.start()

    def run(self, host: Host, words: list[str]) -> None:
        try:
            run(host.within(*words), env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}, limit_sec=LIMIT_SEC)
            self.times.append(time.monotonic() - self.began)
        except Failed as e:
            self.faults.append(str(e))

    def all(self) -> list[float]:
        for thread in self.threads:
            thread.join()
        if self.faults:
            raise Failed(self.faults[0])
        return self.times


def by_vine(world: World, hosts: list[Host], shared: Shared) -> list[float]:
    world.start_vined()
    world.start_nodes(hosts)
    python = f"{shared.place}/env/bin/python3"
    words = [f"in={shared.place}/env", "feature=n{i}", "env.PYTHONDONTWRITEBYTECODE=1", "env.OPENBLAS_NUM_THREADS=1", python, "-c", TASK]
    times = Orders(world, len(hosts), *words).times()
    world.stop_all()
    return times


def directly(_world: World, hosts: list[Host], shared: Shared) -> list[float]:
    tasks = Tasks()
    for host in hosts:
        tasks.start(host, [f"{shared.place}/env/bin/python3", "-c", TASK])
    return tasks.all()


def by_tarball(world: World, hosts: list[Host], shared: Shared) -> list[float]:
    agents = Agents(hosts, world.directory)
    tasks = Tasks()
    first = world.directory / "tarball"
    run(hosts[0].within("cp", f"{shared.place}/env.tar.gz", str(first)), limit_sec=LIMIT_SEC)

    def on_got(i: int) -> None:
        home = agents.paths[i].parent
        script = f"cd {home} && tar -xzf whole && exec env/bin/python3 -c '{TASK}'"
        tasks.start(hosts[i], ["sh", "-c", script])

    agents.spread(first, UPLOADS, on_got)
    times = tasks.all()
    agents.stop()
    return times


WAYS = {"vine": by_vine, "direct": directly, "tarball": by_tarball}


def measure(make_world: MakeWorld, source: Path, way: str, n: int) -> tuple[float, float, int, str]:
    """Mean and last seconds to a result, bytes read from the shared path, what it cost. Everything is anew, so nobody remembers anything."""
    world = make_world()
    hosts = [world.add_host(f"n{i + 1}", MBIT) for i in range(n)]
    shared = Shared(world, source, SHARED_MBIT)
    for host in [world.hub, *hosts]:
        shared.mount(host)
    cost = Cost()
    times = WAYS[way](world, hosts, shared)
    words, _, _ = cost.text()
    n_bytes, n_operations = shared.read()
    words = f"{n_operations} operations; {words}"
    shared.unmount_all()
    world.end()
    return sum(times) / len(times), max(times), n_bytes, words


def paper(make_world: MakeWorld) -> None:
    result, place = Result("swarm-paper"), environment()
    n = 4 if IS_QUICK else N
    size = size_of(place)
    source = place.parent / f"{place.name}-shared"
    prepare(source, place)
    mean: dict[str, Series] = {way: Series([]) for way in WAYS}
    read: dict[str, Series] = {way: Series([]) for way in WAYS}
    n_rounds = rounds(3)
    packed = (source / "env.tar.gz").stat().st_size
    result.say(f"{n} hosts of {MBIT} Mbit/s, an environment of {size / 1e6:.0f} MB ({packed / 1e6:.0f} packed) on a shared path of {SHARED_MBIT} Mbit/s in all")
    # One alone is for whoever looks for what takes its time: no result.
    ways = {way: WAYS[way] for way in os.environ.get("VINE_BENCH_PART", " ".join(WAYS)).split()}
    for i in range(n_rounds):
        for way in ways:
            mean_sec, last_sec, n_bytes, words = measure(make_world, source, way, n)
            mean[way].values.append(mean_sec)
            read[way].values.append(n_bytes / size)
            result.say(f"  round {i + 1}, {way:7}: mean {mean_sec:6.2f} s, last {last_sec:6.2f} s, read {n_bytes / 1e6:7.1f} MB of the shared path = {n_bytes / size:.2f} S; {words}")
    if ways != WAYS:
        return
    over = {way: Series([v / d for v, d in zip(mean["vine"].values, mean[way].values)]) for way in ("direct", "tarball")}
    result.say(f"  mean over reading it directly {over['direct']}, over the tarball {over['tarball']}; read of the shared path {read['vine']} S")
    for way in WAYS:
        result.note(f"{way}_mean_sec", mean[way])
        result.note(f"{way}_read", read[way])
    result.note("over_tarball", over["tarball"])
    result.end(over["direct"].median, "x reading directly", "0.3; 0.4 of the tarball")


def prepare(source: Path, place: Path) -> None:
    """What the file server has: the environment and the same as a tarball, whole or not there."""
    if (source / ".whole").exists():
        return
    run(["rm", "-rf", str(source)])
    source.mkdir()
    run(["cp", "-a", str(place), str(source / "env")], limit_sec=LIMIT_SEC)
    run(["tar", "-C", str(source), "-czf", str(source / "env.tar.gz"), "env"], limit_sec=LIMIT_SEC)
    (source / ".whole").touch()
