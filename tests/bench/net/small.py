# SPDX-License-Identifier: Apache-2.0
"""Trees of one file of 4 KiB each from one host to another, by real nodes over one connection: what the giver's vinefs spends on each, and the asker's, with all that
belongs to it: vined's orders, the index, the cache, the tasks that want them."""

from __future__ import annotations

import re

from result import IS_QUICK, Result, Series, rounds
from swarm import MakeWorld, Orders
from world import Host, World, stat_of

N_TASKS, PER_TASK = 20, 50
FILE_SIZE = 4096


def vinefs_pid(world: World, host: Host) -> int:
    """The ready line has it: what was started is the keeper."""
    found = re.search(r" pid=(\d+)", world.ready[host.name])
    assert found
    return int(found[1])


def small(make_world: MakeWorld) -> None:
    result, world = Result("peer-small"), make_world()
    source, asker = world.add_host("source", 0), world.add_host("asker", 0)
    world.start_vined()
    world.start_nodes([source, asker])
    giving, asking = Series([]), Series([])
    n_tasks = 2 if IS_QUICK else N_TASKS
    for i in range(rounds(5)):
        # Every tree is another.
        outs = [f"out=o{k}@r{i}t{{i}}o{k}" for k in range(PER_TASK)]
        script = f"for k in $(seq 0 {PER_TASK - 1}); do head -c {FILE_SIZE} /dev/urandom >o$k; done"
        Orders(world, n_tasks, *outs, "feature=source", "sh", "-c", script, run=f"small{i}").times()
        pids = [vinefs_pid(world, host) for host in (source, asker)]
        before = [stat_of(pid) for pid in pids]
        ins = [f"in=temp:r{i}t{{i}}o{k}@o{k}" for k in range(PER_TASK)]
        Orders(world, n_tasks, *ins, "staging=full", "feature=asker", "true", run=f"small{i}").times()
        for series, pid, was in zip((giving, asking), pids, before):
            now = stat_of(pid)
            assert now and was
            series.values.append((now[2] - was[2]) * 1e6 / (n_tasks * PER_TASK))
    result.say(f"{n_tasks * PER_TASK} trees of {FILE_SIZE} bytes: the giver's vinefs spends {giving} us on each, the asker's {asking} us, both with TLS")
    result.note("giver_usec", giving)
    result.note("asker_usec", asking)
    world.end()
    result.end(giving.median, "us of the giver's CPU each", "20")
