"""A large file, processed chunk by chunk: every chunk tells how far it is, the last one what came of it all.

The file is a CSV of sensor readings as `make_dataset.py` writes it. It is read as a stream, so it may be larger than
memory; a consumer that is slow makes the reading slow.
"""

import csv
import math
import os
from itertools import islice

from snakemux import Context, Error, Worker

worker = Worker(name="large_dataset", threads=4)

COLUMNS = ["time", "sensor", "temperature", "humidity"]


class Summary:
    """Count, mean, deviation and extremes of numbers that are seen once, one after the other (Welford's method)."""

    def __init__(self):
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.lowest, self.highest = math.inf, -math.inf

    def add(self, number: float):
        self.count += 1
        distance = number - self.mean
        self.mean += distance / self.count
        self.squares += distance * (number - self.mean)
        self.lowest, self.highest = min(self.lowest, number), max(self.highest, number)

    def as_dict(self):
        if self.count == 0:
            return {"count": 0}
        deviation = math.sqrt(self.squares / self.count)
        return {
            "count": self.count,
            "mean": self.mean,
            "deviation": deviation,
            "min": self.lowest,
            "max": self.highest,
        }


@worker.command
def process_large_dataset(dataset_path: str, ctx: Context, chunk_size: int = 10_000):
    """Summarises the readings, `chunk_size` rows a chunk; rows that can't be read are counted and skipped."""
    if chunk_size < 1:
        raise Error("invalid_argument", "chunk_size must be at least 1")
    with opened(dataset_path) as file:
        size = os.fstat(file.fileno()).st_size
        header = file.readline().strip().split(",")
        if header != COLUMNS:
            raise Error("invalid_argument", f"{dataset_path}: the columns are {header}, not {COLUMNS}")
        total, sensors = Summary(), {}
        rows = invalid = 0
        lines = iter(file.readline, "")  # unlike `for line in file` it leaves tell() usable
        for number, chunk in enumerate(iter(lambda: list(islice(lines, chunk_size)), [])):
            ctx.check()
            here = Summary()
            for row in csv.reader(chunk):
                try:
                    _, sensor, temperature = row[0], row[1], float(row[2])
                except (IndexError, ValueError):
                    invalid += 1
                    continue
                here.add(temperature)
                total.add(temperature)
                sensors.setdefault(sensor, Summary()).add(temperature)
            rows += len(chunk)
            yield {
                "chunk": number,
                "rows": len(chunk),
                "rows_done": rows,
                "invalid": invalid,
                "progress": file.tell() / size,
                "temperature": here.as_dict(),
            }
    by_mean = sorted(sensors, key=lambda sensor: sensors[sensor].mean)
    yield {
        "finished": True,
        "rows": rows,
        "invalid": invalid,
        "temperature": total.as_dict(),
        "sensors": len(sensors),
        "coldest": {"sensor": by_mean[0], **sensors[by_mean[0]].as_dict()} if by_mean else None,
        "hottest": {"sensor": by_mean[-1], **sensors[by_mean[-1]].as_dict()} if by_mean else None,
    }


def opened(path: str):
    try:
        return open(path, encoding="utf-8", newline="")
    except FileNotFoundError:
        raise Error("not_found", f"no dataset at {path}: make one with make_dataset.py") from None


if __name__ == "__main__":
    worker.run()
