"""Writes a log for `tail_and_analyze`: `python write_log.py PATH [--lines 3000] [--rotate-bytes 65536]`.

What it logs is real: it factorises random numbers and says how long each took; too large a number is an error. The log
rotates as logs do, by renaming.
"""

import argparse
import logging
import logging.handlers
import random
import time


def factors(number: int, limit: int = 200_000):
    """The prime factors of a number; raises ValueError where trial division up to `limit` doesn't suffice."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        if divisor > limit:
            raise ValueError(f"{number} has no small factor")
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def write(path: str, lines: int, rotate_bytes: int, seed: int = 1) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=rotate_bytes, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("factors")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    numbers = random.Random(seed)
    for _ in range(lines):
        number = numbers.randrange(2, 10**10)
        began = time.perf_counter()
        try:
            count = len(factors(number, limit=20_000))
        except ValueError:
            log.error("no small factor in %d duration_ms=%.3f", number, (time.perf_counter() - began) * 1000)
        else:
            log.info("factors=%d number=%d duration_ms=%.3f", count, number, (time.perf_counter() - began) * 1000)
    log.removeHandler(handler)
    handler.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Factorises numbers and logs it.")
    parser.add_argument("path")
    parser.add_argument("--lines", type=int, default=3000)
    parser.add_argument("--rotate-bytes", type=int, default=64 * 1024)
    options = parser.parse_args()
    write(options.path, options.lines, options.rotate_bytes)


if __name__ == "__main__":
    main()
