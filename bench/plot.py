"""Draws the figures of bench.json: python plot.py bench.json DIRECTORY.

Rates and latencies over calls in flight, CPU time per call, streams. The bars are the lowest and the highest round.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

NAMES = {
    "bare": "bare C core",
    "tuned": "bare, our channel arguments",
    "api": "snakemux, Erlang API",
    "terms": "snakemux, Erlang API, terms",
    "hand": "snakemux, port by hand",
    "echo": "plain port echo",
}
COLOURS = {"bare": "C7", "tuned": "C3", "api": "C0", "terms": "C4", "hand": "C2", "echo": "C1"}


def over_concurrency(axes: Any, works: list[dict[str, Any]], names: list[str], key: str) -> None:
    """One line for each contestant."""
    for name in names:
        rounds = [work["contestants"][name][key] for work in works]
        medians = [statistics.median(values) for values in rounds]
        spread = [
            [middle - min(values) for middle, values in zip(medians, rounds, strict=True)],
            [max(values) - middle for middle, values in zip(medians, rounds, strict=True)],
        ]
        at = [work["in_flight"] for work in works]
        axes.errorbar(at, medians, yerr=spread, label=NAMES[name], color=COLOURS[name], marker="o", capsize=3)
    axes.set_xscale("log", base=4)
    axes.set_xticks(at, [str(n) for n in at])
    axes.set_xlabel("calls in flight")
    axes.grid(alpha=0.3)


def draw_unary(works: list[dict[str, Any]], title: str, file: Path) -> None:
    """Rate, median and 99th percentile."""
    names = [name for name in works[0]["contestants"] if name != "echo"]
    names.sort(key=list(NAMES).index)
    figure, (rate, median, tail) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    over_concurrency(rate, works, names, "rate")
    rate.set_title("calls/s")
    rate.set_ylim(bottom=0)
    rate.legend(fontsize=8)
    for axes, key in ((median, "p50"), (tail, "p99")):
        over_concurrency(axes, works, names, key)
        axes.set_title(f"latency {key}, µs")
        axes.set_yscale("log")
    figure.suptitle(title)
    figure.savefig(file)
    plt.close(figure)


def label(work: dict[str, Any]) -> str:
    """Name of the work, in two lines."""
    size = work["size"]
    text = f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB" if size >= 1 << 10 else f"{size} B"
    what = f"{work['in_flight']} in flight" if work["kind"] == "unary" else f"{work['in_flight']} stream(s)"
    return f"{text}\n{what}"


def draw_cpu(works: list[dict[str, Any]], title: str, file: Path) -> None:
    """Stacked: the client or port program, the BEAM, the worker."""
    names = [name for name in NAMES if name in works[0]["contestants"] and name != "echo"]
    figure, axes = plt.subplots(figsize=(max(8, 2 * len(works)), 4.2), layout="constrained")
    for index, name in enumerate(names):
        for place, work in enumerate(works):
            columns = work["contestants"][name]
            bottom = 0.0
            parts = (("client", 1.0), ("beam", 0.6), ("worker", 0.25))
            for part, alpha in parts:
                value = 0.0 if part == "beam" and name in ("bare", "tuned") else statistics.median(columns[part])
                x = place + (index - len(names) / 2 + 0.5) * 0.8 / len(names)
                axes.bar(x, value, 0.75 / len(names), bottom, color=COLOURS[name], alpha=alpha)
                bottom += value
        axes.bar(0, 0, color=COLOURS[name], label=NAMES[name])
    axes.set_xticks(range(len(works)), [label(work) for work in works])
    axes.set_ylabel("CPU per call, µs: client, BEAM, worker (dark to light)")
    axes.legend(fontsize=8)
    axes.set_title(title)
    figure.savefig(file)
    plt.close(figure)


def draw_streams(works: list[dict[str, Any]], title: str, file: Path) -> None:
    """Messages or megabytes per second, one small plot for each kind."""
    names = [name for name in NAMES if name in works[0]["contestants"]]
    figure, all_axes = plt.subplots(1, len(works), figsize=(3.2 * len(works), 4.2), layout="constrained", squeeze=False)
    for axes, work in zip(all_axes[0], works, strict=True):
        large = work["size"] >= 4096
        scale = work["size"] / 1e6 if large else 1
        for place, name in enumerate(names):
            rates = [rate * scale for rate in work["contestants"][name]["rate"]]
            middle = statistics.median(rates)
            error = [[middle - min(rates)], [max(rates) - middle]]
            axes.bar(place, middle, yerr=error, capsize=3, color=COLOURS[name])
        axes.set_xticks(range(len(names)), names, rotation=45)
        axes.set_title(label(work).replace("\n", ", "), fontsize=10)
        axes.set_ylabel("MB/s" if large else "messages/s")
        if "echo" in names and not large:
            axes.set_yscale("log")
    figure.suptitle(title)
    figure.savefig(file)
    plt.close(figure)


def main(source: str, directory: str) -> None:
    """Reads the figures and writes the plots."""
    data = json.loads(Path(source).read_text())
    machine, options = data["machine"], data["options"]
    where = f"{machine['cpu']}, {machine['cores']} cores, OTP {machine['otp']} {machine['erl_flags']}".strip()
    title = f"{where}; {options['workers']} {options['worker']} worker(s), {options['transport']}"
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = "snakemux"  # the same figures give the same file
    for size in (16, 1024):
        works = [work for work in data["works"] if work["kind"] == "unary" and work["size"] == size]
        if works:
            draw_unary(works, f"unary echo, {size} B; {title}", target / f"unary-{size}.svg")
            draw_cpu(works, title, target / f"cpu-{size}.svg")
    streams = [work for work in data["works"] if work["kind"] == "stream"]
    if streams:
        draw_streams(streams, f"streams; {title}", target / "streams.svg")


if __name__ == "__main__":
    main(*sys.argv[1:])
