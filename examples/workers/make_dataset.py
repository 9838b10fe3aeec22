"""Writes the dataset that `process_large_dataset` reads: `python make_dataset.py PATH [--rows 300000] [--seed 1]`.

The readings of twenty sensors, one every second in turn: each has a level of its own and a daily wave, all have noise,
and one reading in a thousand is broken, as in life. The same seed gives the same file.
"""

import argparse
import math
import os
import random

SENSORS = 20
DAY = 86_400


def rows(count: int, seed: int):
    """The lines of the file, each with its newline."""
    noise = random.Random(seed)
    levels = [noise.uniform(10, 30) for _ in range(SENSORS)]
    yield "time,sensor,temperature,humidity\n"
    for second in range(count):
        sensor = second % SENSORS
        wave = 4 * math.sin(2 * math.pi * second / DAY)
        temperature = "error" if noise.random() < 0.001 else f"{levels[sensor] + wave + noise.gauss(0, 0.5):.2f}"
        yield f"{second},sensor-{sensor:02},{temperature},{noise.uniform(30, 70):.1f}\n"


def write(path: str, count: int, seed: int) -> None:
    """Writes the file whole or not at all."""
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        file.writelines(rows(count, seed))
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a CSV of sensor readings.")
    parser.add_argument("path")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.path, options.rows, options.seed)
    print(f"{options.rows} rows in {options.path}")


if __name__ == "__main__":
    main()
