# SPDX-License-Identifier: Apache-2.0
"""Plays a terminal, and its user by lines of standard input:

    run W H CMD    in a terminal of this size       type KEYS      as Python writes them: \\r, \\x1b[A
    see TEXT       until it is on the screen        gone TEXT      until it is not
    resize W H                                      signal NAME    to the command
    stopped        it has stopped, and its terminal is as it was
    ends STATUS    it ended so (128 + N by a signal), and its terminal is as it was
    end            that was the last line, though the input goes on

Each line is printed when it is done. Fails as soon as something is printed that is no character with a place of its own, or a sequence that it does not know."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

PATIENCE = 20.0 * float(os.environ.get("DEADLINE_FACTOR", "1"))
SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.is_other = self.is_hidden = self.is_unwrapped = False
        self.x = self.y = 0
        self.rest = b""
        self.clear()

    def clear(self) -> None:
        self.rows = [[" "] * self.width for _ in range(self.height)]

    def control(self, private: str, numbers: str, letter: str) -> None:
        if letter == "H":
            y, x = (numbers or "1;1").split(";")
            self.y, self.x = min(int(y), self.height) - 1, int(x) - 1
        elif letter == "K" and numbers == "2":
            self.rows[self.y] = [" "] * self.width
        elif letter == "J" and numbers == "2":
            self.clear()
        elif private and letter in "hl" and numbers in ("1049", "25", "7"):
            is_set = letter == "h"
            if numbers == "1049":
                self.is_other = is_set
                self.clear()
            elif numbers == "25":
                self.is_hidden = not is_set
            else:
                self.is_unwrapped = not is_set
        elif letter != "m":
            raise SystemExit(f"an unknown sequence: {private}{numbers}{letter}")

    def put(self, c: str) -> None:
        cells = 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if unicodedata.combining(c) or not c.isprintable():
            raise SystemExit(f"no character to print: {c!r}")
        if self.x + cells > self.width:
            # What was drawn for a size that it had a moment ago.
            return
        self.rows[self.y][self.x] = c
        if cells == 2:
            self.rows[self.y][self.x + 1] = ""
        self.x += cells

    def feed(self, data: bytes) -> None:
        data = self.rest + data
        try:
            text, self.rest = data.decode(), b""
        except UnicodeDecodeError as e:
            text, self.rest = data[: e.start].decode(), data[e.start :]
            if len(self.rest) > 3:
                raise SystemExit(f"no UTF-8: {self.rest[:8]!r}") from None
        while text:
            found = SEQUENCE.match(text)
            if found:
                self.control(*found.groups())
                text = text[found.end() :]
            elif text[0] == "\x1b":
                self.rest = text.encode() + self.rest
                return
            elif not self.is_other:
                text = text[1:]
            else:
                self.put(text[0])
                text = text[1:]

    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.rows)


class Terminal:
    def __init__(self, width: int, height: int, command: list[str]) -> None:
        self.screen = Screen(width, height)
        self.status: int | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # The shell's part: it has set the size before anything runs.
            sys.stdin.readline()
            os.execvp(command[0], command)
        self.before = termios.tcgetattr(self.fd)
        self.set_size()
        os.write(self.fd, b"\n")

    def set_size(self) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", self.screen.height, self.screen.width, 0, 0))

    def resize(self, width: int, height: int) -> None:
        self.screen.width, self.screen.height = width, height
        self.screen.y = min(self.screen.y, height - 1)
        self.screen.clear()
        self.set_size()

    def read(self) -> None:
        if not select.select([self.fd], [], [], 0.05)[0]:
            return
        try:
            self.screen.feed(os.read(self.fd, 65536))
        except OSError:
            # Nobody has the other end any more.
            time.sleep(0.01)

    def until(self, what: str, holds) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                raise SystemExit(f"still not: {what}\n{self.screen.text()}")
            self.read()

    def is_restored(self) -> bool:
        s = self.screen
        is_same = termios.tcgetattr(self.fd) == self.before
        return is_same and not (s.is_other or s.is_hidden or s.is_unwrapped)

    def wait(self, flags: int) -> int | None:
        pid, status = os.waitpid(self.pid, flags | os.WNOHANG)
        return status if pid else None

    def has_ended(self) -> bool:
        if self.status is None:
            self.status = self.wait(0)
        return self.status is not None

    def has_stopped(self) -> bool:
        status = self.wait(os.WUNTRACED)
        return status is not None and os.WIFSTOPPED(status)

    def do(self, word: str, rest: str) -> None:
        if word == "see":
            self.until(f"see {rest}", lambda: rest in self.screen.text())
        elif word == "gone":
            self.until(f"gone {rest}", lambda: rest not in self.screen.text())
        elif word == "type":
            os.write(self.fd, rest.encode().decode("unicode_escape").encode("latin-1"))
        elif word == "resize":
            self.resize(*map(int, rest.split()))
        elif word == "signal":
            os.kill(self.pid, getattr(signal, f"SIG{rest}"))
        elif word == "stopped":
            self.until("stopped", self.has_stopped)
            self.until("restored", self.is_restored)
        elif word == "ends":
            self.until("ends", self.has_ended)
            assert self.status is not None
            code = os.waitstatus_to_exitcode(self.status)
            code = 128 - code if code < 0 else code
            if code != int(rest):
                raise SystemExit(f"ended with {code}, not {rest}")
            self.until("restored", self.is_restored)
            os.close(self.fd)
        elif word != "end":
            raise SystemExit(f"what is {word}?")


def main() -> None:
    terminal: Terminal | None = None
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "run":
            width, height, *command = rest.split()
            terminal = Terminal(int(width), int(height), command)
        elif word:
            assert terminal
            terminal.do(word, rest)
        print(line, end="", flush=True)
        if word == "end":
            return


main()
