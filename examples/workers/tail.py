"""Follows a log while it is written, through rotation and truncation, and tells what goes on in it.

A line counts by its first word that is a level; a figure such as `duration_ms=12.5` is a latency. `write_log.py` writes
such a log. The wait for more is the context's, so it ends at once when the caller gives up. As with `tail -F`, a file
that is written and rotated away again while nobody looks (the consumer is slow, say) is missed.
"""

import os
import re
from collections import Counter, deque

from snakemux import Context, Error, Worker

worker = Worker(name="tail", threads=8)

LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
LATENCY = re.compile(r"\bduration_ms=([0-9.]+)")
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

MOST_LINES = 500  # in one chunk
WINDOW = 1000  # latencies that percentiles are taken of
POLL = 0.05  # seconds between two looks at a file that doesn't grow


class Follower:
    """The complete lines of a log file that others write, rotate and truncate."""

    def __init__(self, path: str, from_start: bool):
        self.path = path
        self.rotations = 0
        self._file = None
        self._rest = b""  # the beginning of a line whose end isn't written yet
        if self._open() and not from_start:
            self._file.seek(0, os.SEEK_END)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._file is not None:
            self._file.close()

    def lines(self, most: int):
        """Up to `most` new lines, fewer or none if there are no more now."""
        found = []
        while len(found) < most and (self._file is not None or self._open()):
            data = self._file.readline()
            if not data:
                if not self._next_file():
                    break
            elif data.endswith(b"\n"):
                found.append((self._rest + data).decode("utf-8", "replace").rstrip("\r\n"))
                self._rest = b""
            else:
                self._rest += data
        return found

    def _next_file(self):
        """True if there is more to read after all: the file was rotated away, or it was truncated."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False  # moved away, and the new one isn't there yet
        here = os.fstat(self._file.fileno())
        if (now.st_dev, now.st_ino) != (here.st_dev, here.st_ino):
            if here.st_size > self._file.tell():
                return True  # its last lines came between the read and the rotation
            self._file.close()
            self._file, self._rest = None, b""
            self.rotations += 1
            return self._open()
        if here.st_size < self._file.tell():
            self._file.seek(0)
            self._rest = b""
            self.rotations += 1
            return True
        return False

    def _open(self):
        try:
            self._file = open(self.path, "rb")  # noqa: SIM115 - closed by __exit__
        except FileNotFoundError:
            return False
        return True


class Analysis:
    """What the lines so far amount to."""

    def __init__(self):
        self.lines = 0
        self.levels = Counter()
        self.problems = Counter()
        self.latencies = deque(maxlen=WINDOW)

    def add(self, line: str):
        self.lines += 1
        level = LEVEL.search(line)
        name = level.group(1) if level else "OTHER"
        self.levels[name] += 1
        if level and name in ("ERROR", "CRITICAL"):
            self.problems[NUMBER.sub("#", line[level.end() :]).strip()] += 1
        latency = LATENCY.search(line)
        if latency:
            self.latencies.append(float(latency.group(1)))

    def as_dict(self):
        return {
            "total_lines": self.lines,
            "levels": dict(self.levels),
            "error_rate": (self.levels["ERROR"] + self.levels["CRITICAL"]) / max(self.lines, 1),
            "latency_ms": self.percentiles(),
            "top_errors": [{"message": message, "count": count} for message, count in self.problems.most_common(3)],
        }

    def percentiles(self):
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return {
            name: ordered[int(part * (len(ordered) - 1))] for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1))
        }


@worker.command
def tail_and_analyze(
    path: str, ctx: Context, from_start: bool = False, max_lines: int | None = None, idle_timeout: float | None = None
):
    """Follows the log at `path`: a chunk whenever there are new lines, with what all lines so far amount to.

    Ends after `max_lines`, or `idle_timeout` seconds without a new one, else with the call. The file may come later.
    """
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise Error("not_found", f"{path}: no such directory")
    analysis, idle = Analysis(), 0.0
    with Follower(path, from_start) as follower:
        while max_lines is None or analysis.lines < max_lines:
            most = MOST_LINES if max_lines is None else min(MOST_LINES, max_lines - analysis.lines)
            lines = follower.lines(most)
            if not lines:
                if idle_timeout is not None and idle >= idle_timeout:
                    break
                ctx.wait(POLL)
                idle += POLL
                continue
            idle = 0.0
            for line in lines:
                analysis.add(line)
            yield {"lines": len(lines), "latest": lines[-1], "rotations": follower.rotations, **analysis.as_dict()}
        yield {"finished": True, "rotations": follower.rotations, **analysis.as_dict()}


if __name__ == "__main__":
    worker.run()
