# SPDX-License-Identifier: Apache-2.0
"""What disturbs a distribution to 16 hosts of 50 Mbit/s: hosts that leave and join, other trees, a slow host, readers that wait, a tree of which little is new.

VINE_BENCH_PART=churn|trees|slow|reads|changed is one of these alone."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from result import Result, Series, rounds
from shared import Shared
from swarm import CASES, SHARED_MBIT, MakeWorld, Orders, age, make_file, make_hosts, make_small_files, seal, stage
from world import Cost, Failed, Host, World, await_true

CASE = CASES[1]
N_MOVED = 3  # leave, and join
N_TREES = 4
SLOWER = 20
N_FILES = 50000
HERE_MSEC = 0.5  # a read that took less did not wait for the network: what lies around it had come
# At places of its input that nobody read before, far from each other; prints how long each took, in ms.
READ = """
import os, time
f = os.open("data", os.O_RDONLY)
n, times = os.fstat(f).st_size, []
for i in range(8):
    at = time.monotonic()
    os.pread(f, 100, n * (2 * ((5 * i) % 8) + 1) // 16)
    times.append(f"{(time.monotonic() - at) * 1e3:.3f}")
print(",".join(times))
"""


# ---- hosts leave and join


def churn_round(make_world: MakeWorld, reader: str) -> tuple[float, float]:
    """Bytes read of the source over S, the last host's time over S/b. Who leaves says nothing; who joins is new. reader: the group of the host that reads the
    source, which is the first that wants it."""
    world = make_world()
    leave, stay, join = (make_hosts(world, n, CASE.mbit, group) for n, group in ((N_MOVED, "leave"), (CASE.n - N_MOVED, "stay"), (N_MOVED, "join")))
    shared = Shared(world, world.directory / "source", SHARED_MBIT)
    make_file(world.directory / "source" / "file", CASE.size)
    for host in [world.hub, *leave, *stay, *join]:
        shared.mount(host)
    world.start_vined()
    world.start_nodes([*leave, *stay])
    world.mark()

    def order(group: str, n: int) -> Orders:
        return Orders(world, n, f"in={shared.place}/file@data", "staging=full", f"feature={group}{{i}}", "true")

    sizes = {"leave": N_MOVED, "stay": len(stay)}
    orders = {reader: order(reader, sizes.pop(reader))}
    await_true("somebody reads the source", lambda: shared.read()[0] > 0)
    orders |= {group: order(group, n) for group, n in sizes.items()}
    gone, staying = orders["leave"], orders["stay"]

    def is_half() -> bool:
        got = world.counters()
        return statistics.median(got[h.name][1] for h in stay) > CASE.size / 3

    await_true("a third of it is on the middle host", is_half, 60)
    joining = order("join", N_MOVED)
    for host in leave:
        world.kill(host.name)
    world.start_nodes(join)
    times = staying.times() + joining.times()
    gone.process.kill()
    gone.process.wait()
    n_bytes, _ = shared.read()
    world.end()
    shared.unmount_all()
    return n_bytes / CASE.size, max(times) / CASE.wire_sec


def churn_part(result: Result, make_world: MakeWorld) -> float:
    read, last = ({reader: Series([]) for reader in ("stay", "leave")} for _ in range(2))
    for _ in range(rounds(3)):
        for reader in read:
            at = churn_round(make_world, reader)
            read[reader].values.append(at[0])
            last[reader].values.append(at[1])
    result.say(f"{N_MOVED} of {CASE.n} leave and {N_MOVED} join: all finish, the last after {last['stay']} S/b; the source was read {read['stay']} S (target 1.1)")
    result.say(f"  where who read the source is among those that leave: after {last['leave']} S/b; {read['leave']} S: what had not left it is read again")
    for reader, key in (("stay", "churn"), ("leave", "churn_reader")):
        result.note(f"{key}_last", last[reader])
        result.note(f"{key}_read", read[reader])
    return read["stay"].median


# ---- with one source, whole nodes


def whole_world(make_world: MakeWorld, n: int, *more: str) -> tuple[World, Host, list[Host]]:
    world = make_world()
    source, hosts = world.add_host("source", CASE.mbit), make_hosts(world, n, CASE.mbit)
    world.start_vined()
    world.start_nodes([source, *hosts], *more)
    return world, source, hosts


def measure_trees(result: Result, make_world: MakeWorld, cores: int) -> None:
    world, source, hosts = whole_world(make_world, CASE.n, f"--cores={cores}")
    ratio, last = Series([]), Series([])
    size = CASE.size // 2
    for i in range(rounds(5)):
        names = [f"tree{i}-{k}" for k in range(N_TREES)]
        for name in names:
            seal(world, source, make_file(world.directory / name, size))
        # Each is read as it comes, lest the moments of one be those at which another was done with.
        with ThreadPoolExecutor(N_TREES) as pool:
            times = [max(t) for t in pool.map(lambda orders: orders.times(), [stage(world, name, len(hosts)) for name in names])]
        ratio.values.append(max(times) / min(times))
        last.values.append(max(times) / (N_TREES * size * 8 / (CASE.mbit * 1e6)))
    result.say(f"{N_TREES} trees at once to {CASE.n} hosts of {cores} cores: the last finished over the first {ratio} (target 1.3); all after {last} of their bytes over b")
    result.note(f"trees_max_over_min_{cores}_cores", ratio)
    result.note(f"trees_last_{cores}_cores", last)
    world.end()


def trees_part(result: Result, make_world: MakeWorld) -> None:
    """A task holds its core while its tree is brought: with two the third and the fourth tree are asked for when the first two are there."""
    for cores in (N_TREES, 2):
        measure_trees(result, make_world, cores)


def slow_part(result: Result, make_world: MakeWorld) -> None:
    """15 hosts, and the same with one more, whose link is slow: both ways in the same networks, in turn."""
    world, source, hosts = whole_world(make_world, CASE.n - 1)
    slow = world.add_host("slow1", CASE.mbit / SLOWER)
    ratio, alone, beside = Series([]), Series([]), Series([])
    for i in range(rounds(5)):
        seal(world, source, make_file(world.directory / f"alone{i}", CASE.size))
        without = max(stage(world, f"alone{i}", len(hosts)).times())
        seal(world, source, make_file(world.directory / f"beside{i}", CASE.size))
        world.start_node(slow)
        slow_orders = stage(world, f"beside{i}", 1, "slow")
        with_it = max(stage(world, f"beside{i}", len(hosts)).times())
        slow_orders.process.kill()
        slow_orders.process.wait()
        world.kill(slow.name)
        ratio.values.append(with_it / without)
        alone.values.append(without / CASE.wire_sec)
        beside.values.append(with_it / CASE.wire_sec)
    result.say(f"one of {CASE.n} is {SLOWER} x slower: the last of the others after {beside} S/b, without it {alone}: {ratio} (target 1.2)")
    result.note("slow_over_without", ratio)
    world.end()


def reads(world: World, name: str, host: Host) -> list[float]:
    orders = Orders(world, 1, f"in=temp:{name}@data", f"feature={host.name}", "python3", "-c", READ, run=name)
    orders.times()
    return [msec for n in orders.said[0].split()[0].split(",") if (msec := float(n)) > HERE_MSEC]


def reads_part(result: Result, make_world: MakeWorld) -> None:
    """A task reads here and there of a tree that is elsewhere: on an idle network, and while another tree is brought to everybody. The rest of its tree
    comes behind it in both."""
    world, source, hosts = whole_world(make_world, CASE.n)
    idle, busy, n_rounds = Series([]), Series([]), rounds(5)
    for i in range(n_rounds):
        for name in (f"idle{i}", f"busy{i}"):
            seal(world, source, make_file(world.directory / name, CASE.size // 2))
        seal(world, source, make_file(world.directory / f"bulk{i}", CASE.size * 2))
        reader = hosts[i % len(hosts)]
        idle.values += reads(world, f"idle{i}", reader)
        stage(world, f"idle{i}", len(hosts)).times()
        bulk = stage(world, f"bulk{i}", len(hosts))
        world.mark()
        await_true("the bulk flows", lambda host=reader: world.counters()[host.name][1] > CASE.size / 10, 30)
        busy.values += reads(world, f"busy{i}", reader)
        if bulk.process.poll() is not None:
            raise Failed("the bulk had come before the reads were over")
        bulk.times()
        stage(world, f"busy{i}", len(hosts)).times()
    over = busy.median / idle.median
    result.say(f"a task's read that waits for its bytes: {idle} ms on an idle network, {busy} ms beside a distribution: {over:.2f} x (target 2)")
    result.note("read_idle_msec", idle)
    result.note("read_busy_msec", busy)
    result.note("read_over_idle", round(over, 3))
    world.end()


# ---- little is new


def blobs(world: World, host: Host) -> dict[str, int]:
    at = world.directory / host.name / "cache"
    return {str(p.relative_to(at)): p.stat().st_size for folder in ("b", "t") for p in (at / folder).rglob("*") if p.is_file()}


def changed_part(result: Result, make_world: MakeWorld) -> None:
    world, source, hosts = whole_world(make_world, CASE.n)
    tree = make_small_files(world.directory / "many0", N_FILES * 1024, 1024)
    seal(world, source, tree)
    stage(world, "many0", len(hosts)).times()
    took, wire, rest, got = Series([]), Series([]), Series([]), Series([])
    for i in range(1, 1 + rounds(5)):
        changed = tree / "0123" / "45"
        changed.write_bytes(os.urandom(1024))
        age(changed)
        tree = tree.rename(world.directory / f"many{i}")
        before = blobs(world, source)
        seal(world, source, tree)
        new = {k: v for k, v in blobs(world, source).items() if k not in before}
        wire_sec = sum(new.values()) * 8 / (CASE.mbit * 1e6)
        world.mark()
        sec = max(stage(world, tree.name, len(hosts)).times())
        counters = world.counters()
        got.values.append(statistics.median(counters[h.name][1] for h in hosts) / 1e6)
        took.values.append(sec)
        wire.values.append(wire_sec)
        rest.values.append(sec - wire_sec)
    result.say(f"one of {N_FILES} files is new: on all {CASE.n} after {took} s, of which the wire needs {wire} s for index and pack: {rest} s more (target 1); a host got {got} MB")
    result.note("changed_sec", took)
    result.note("changed_wire_sec", wire)
    result.note("changed_got_mb", got)
    world.end()


PARTS = {"churn": churn_part, "trees": trees_part, "slow": slow_part, "reads": reads_part, "changed": changed_part}


def churn(make_world: MakeWorld) -> None:
    result = Result("swarm-churn")
    only = os.environ.get("VINE_BENCH_PART")
    value = 0.0
    for name, part in PARTS.items():
        if only and name != only:
            continue
        cost, began = Cost(), time.monotonic()
        value = part(result, make_world) or value
        result.say(f"  {name} took {time.monotonic() - began:.0f} s; {cost.text()[0]}")
    if only and only != "churn":
        return
    result.end(value, "x S read of the source", "1.1; trees 1.3, one slow 1.2, reads 2, changed 1 s more")
