# SPDX-License-Identifier: Apache-2.0
"""A shared path: one directory that each host sees at the same place through a slow_fs of its own, behind its own link; all share the file server's wire, and one
account of what was read."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

from world import CannotRun, Failed, Host, World, await_true


class Shared:
    def __init__(self, world: World, source: Path, mbit: float) -> None:
        """mbit: of the file server."""
        self.world, self.source, self.mbit = world, source, mbit
        self.place = world.directory / "shared"
        self.place.mkdir()
        self.account = world.directory / "account"
        self.program = shutil.which("slow_fs", path=f"{os.environ.get('BUILD', '.')}/tests/bench")
        if not self.program or not os.path.exists("/dev/fuse"):
            raise CannotRun("tests/bench/slow_fs is not built, or there is no /dev/fuse")
        self.mounts: dict[str, subprocess.Popen[bytes]] = {}

    def mount(self, host: Host) -> None:
        """From now on processes of the host are in a mount namespace of its own. Before its daemons are started."""
        assert host.name not in self.mounts
        options = f"source={self.source},account={self.account},rate={int(self.mbit * 1e6 / 8)},max_threads=64,max_idle_threads=64,allow_other,default_permissions,ro,fsname=shared"
        if host.mbit:
            options += f",own_rate={int(host.mbit * 1e6 / 8)}"
        words = ["unshare", "--mount", "--propagation", "private", "--", self.program, str(self.place), "-f", "-o", options]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self.mounts[host.name] = process
        host.mount_pid = process.pid
        await_true(f"{self.place} is mounted on {host.name}", lambda: self.is_there(process), 20)

    def is_there(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise Failed(f"slow_fs ended with status {process.returncode}")
        return " " + str(self.place) + " " in Path(f"/proc/{process.pid}/mountinfo").read_text(encoding="utf-8")

    def remount(self, host: Host) -> None:
        """The kernel knows nothing of it any more."""
        self.unmount(host)
        self.mount(host)

    def unmount(self, host: Host) -> None:
        process = self.mounts.pop(host.name)
        process.terminate()
        process.wait(20)
        host.mount_pid = 0

    def read(self) -> tuple[int, int]:
        """Bytes and operations so far, of all hosts."""
        try:
            _, n_bytes, n_operations = struct.unpack("=QQQ", self.account.read_bytes()[:24])
        except FileNotFoundError:
            return 0, 0
        return n_bytes, n_operations

    def unmount_all(self) -> None:
        for name in [*self.mounts]:
            self.unmount(self.world.hosts[name])
