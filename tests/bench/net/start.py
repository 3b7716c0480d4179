# SPDX-License-Identifier: Apache-2.0
"""An environment is on another host, all of it, and was used there; both are behind 200 Mbit/s. A Python task that imports numpy, on a host that has nothing: from
submit until it has run, over the time to move all of the environment."""

from __future__ import annotations

from paper import environment, size_of
from result import Result, Series, rounds
from swarm import MakeWorld, Orders, make_hosts, seal
from world import Cost, Failed, await_true, run

MBIT = 200
NAME = "environment"


def start(make_world: MakeWorld) -> None:
    result, place, world = Result("start"), environment(), make_world()
    n_rounds = rounds(5)
    size = size_of(place)
    source = world.add_host("source", MBIT)
    empty, other = make_hosts(world, n_rounds, MBIT, "empty"), make_hosts(world, n_rounds, MBIT, "other")
    world.start_vined()
    world.start_nodes([source, *empty, *other])
    # A task sees a /tmp of its own, where the build may lie.
    run(["cp", "-a", str(place), str(world.directory / NAME)])
    tree = seal(world, source, world.directory / NAME)

    def import_on(host: str) -> float:
        words = [f"in=temp:{NAME}@/env", f"feature={host}", "env.PYTHONDONTWRITEBYTECODE=1", "/env/bin/python3", "-c", "import numpy; print(numpy.__file__)"]
        orders = Orders(world, 1, *words, run=NAME)
        at = orders.times()[0]
        if not orders.said[0].startswith("/env/"):
            raise Failed(f"numpy came from {orders.said[0]}")
        return at

    import_on("source")
    at_source = import_on("source")
    cost = Cost()
    began, whole, ratio, moved = Series([]), Series([]), Series([]), Series([])
    for i in range(n_rounds):
        world.mark()
        began.values.append(import_on(empty[i].name))
        moved.values.append(world.counters()[empty[i].name][1] / size)
        await_true(f"the rest has come to {empty[i].name}", lambda i=i: world.is_whole(empty[i], tree), 120)
        whole.values.append(Orders(world, 1, f"in=temp:{NAME}@data", "staging=full", f"feature={other[i].name}", "true", run=NAME).times()[0])
        ratio.values.append(began.values[-1] / whole.values[-1])
    result.say(f"an environment of {size / 1e6:.0f} MB at a peer, {MBIT} Mbit/s, S/b = {size * 8 / MBIT / 1e6:.1f} s; where it is whole the task takes {at_source:.2f} s")
    result.say(f"  a task that imports numpy has run after {began} s, when {moved} S had come; all of it is moved in {whole} s; the ratio {ratio}")
    result.say(f"  {cost.text()[0]}")
    for key, series in (("start_sec", began), ("whole_sec", whole), ("ratio", ratio), ("moved", moved)):
        result.note(key, series)
    world.end()
    result.end(ratio.median, "x moving the whole tree", "0.35")
