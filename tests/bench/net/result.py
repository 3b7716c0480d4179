# SPDX-License-Identifier: Apache-2.0
"""How a figure is told: as bench.h has it, a last line, and the same with details as a line of JSON where $BENCH_RESULTS says."""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import dataclass, field

IS_QUICK = bool(os.environ.get("VINE_BENCH_QUICK"))


def rounds(n: int) -> int:
    return 1 if IS_QUICK else int(os.environ.get("VINE_BENCH_ROUNDS") or n)


@dataclass
class Series:
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.values):.2f}-{max(self.values):.2f})"


class Result:
    def __init__(self, name: str) -> None:
        self.name = name
        self.details: dict[str, object] = {}

    def say(self, text: str) -> None:
        print(text, flush=True)

    def note(self, key: str, value: object) -> None:
        self.details[key] = [round(v, 4) for v in value.values] if isinstance(value, Series) else value

    def end(self, value: float, unit: str, target: str) -> None:
        line = f"{self.name} {value:.6g} {unit} (target {target})"
        if IS_QUICK:
            print(f"quick form, no result: {line}", flush=True)
            return
        path = os.environ.get("BENCH_RESULTS")
        if path:
            whole = {"bench": self.name, "value": float(f"{value:.6g}"), "unit": unit, "target": target, **self.details, "cores": os.cpu_count()}
            with open(path, "a", encoding="utf-8") as f:
                f.write(json.dumps(whole) + "\n")
        print(line, flush=True)
