"""Draws the figures of bench.json: python plot.py bench.json DIRECTORY.

Rates and latencies over calls in flight, CPU time per call, streams, Python workers. The thin lines are the lowest
and the highest round.
"""

import itertools
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib
from figures import Block, has_beam, load, machine, row, scale, spread

matplotlib.use("svg")
import matplotlib.pyplot as plt

NAMES = {
    "bare": "bare C core",
    "tuned": "bare, our channel arguments",
    "api": "snakemux, Erlang API",
    "api +sbwt none": "snakemux, Erlang API, +sbwt none",
    "terms": "snakemux, Erlang API, terms",
    "hand": "snakemux, port by hand",
    "owner": "snakemux, a minimal owner with callers",
    "echo": "plain port echo",
    "pool_msgpack": "old pipe, MessagePack",
    "pool_msgpack x4": "old pipe, MessagePack, 4 workers",
    "pool_json": "old pipe, JSON",
    "pool_json x4": "old pipe, JSON, 4 workers",
    "old_direct": "old worker alone",
    "floor": "C echo on a pipe",
    "bare threaded": "grpcio threaded, bare client",
    "bare aio": "grpc.aio, bare client",
    "bare native": "native server, bare client",
    "terms aio": "grpc.aio, through snakemux",
    "terms native": "native server, through snakemux",
}
COLOURS = {label: plt.get_cmap("tab20")(place) for place, label in enumerate(NAMES)}


def name(label: str) -> str:
    """The name of a contestant; the number of workers is in the title."""
    return NAMES.get(label) or NAMES.get(label.removesuffix(" x4"), label)


def colour(label: str) -> Any:
    """Always the same one for the same contestant."""
    return COLOURS.get(label) or COLOURS.get(label.removesuffix(" x4"), "black")


def common(blocks: list[Block], without: tuple[str, ...] = ()) -> list[str]:
    """Contestants that have done all of these works, in their order."""
    labels = [row["label"] for row in blocks[0]["rows"] if row["name"] not in without]
    return [label for label in labels if all(row(block, label) for block in blocks)]


def over_concurrency(axes: Any, blocks: list[Block], labels: list[str], key: str) -> None:
    """One line for each contestant."""
    at = [block["in_flight"] for block in blocks]
    for label in labels:
        middle, below, above = zip(*(spread(row(block, label)[key]) for block in blocks), strict=True)  # type: ignore[index]
        axes.errorbar(at, middle, yerr=[below, above], label=name(label), color=colour(label), marker="o", capsize=3)
    axes.set_xscale("log", base=4)
    axes.set_xticks(at, [str(n) for n in at])
    axes.set_xlabel("calls in flight")
    axes.grid(alpha=0.3)


def draw_unary(blocks: list[Block], title: str, file: Path) -> None:
    """Rate, median and 99th percentile."""
    labels = common(blocks, without=("echo",))
    figure, (rate, median, tail) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    over_concurrency(rate, blocks, labels, "rate")
    rate.set_title("calls/s")
    rate.set_ylim(bottom=0)
    rate.legend(fontsize=8)
    for axes, key in ((median, "p50"), (tail, "p99")):
        over_concurrency(axes, blocks, labels, key)
        axes.set_title(f"latency {key}, µs")
        axes.set_yscale("log")
    save(figure, title, file)


def draw_cpu(blocks: list[Block], title: str, file: Path) -> None:
    """Stacked: the client or port program, the BEAM, the worker; each kind of work has its own scale."""
    figure, all_axes = plt.subplots(
        1, len(blocks), figsize=(3.4 * len(blocks), 4.6), layout="constrained", squeeze=False
    )
    for axes, block in zip(all_axes[0], blocks, strict=True):
        rows = [row for row in block["rows"] if row["name"] != "echo"]
        for place, shown in enumerate(rows):
            bottom = 0.0
            for part, alpha in (("client", 1.0), ("beam", 0.6), ("worker", 0.25)):
                value = 0.0 if part == "beam" and not has_beam(shown) else statistics.median(shown[part])
                axes.bar(place, value, 0.8, bottom, color=colour(shown["label"]), alpha=alpha)
                bottom += value
        finish_bars(axes, block, [row["label"] for row in rows])
        axes.set_ylabel("µs: client, BEAM, worker (dark to light)")
    save(figure, f"CPU time per call; {title}", file)


def draw_rates(blocks: list[Block], title: str, file: Path) -> None:
    """Calls, messages or megabytes per second, one small plot for each kind of work."""
    figure, all_axes = plt.subplots(
        1, len(blocks), figsize=(3.4 * len(blocks), 4.6), layout="constrained", squeeze=False
    )
    for axes, block in zip(all_axes[0], blocks, strict=True):
        for place, shown in enumerate(block["rows"]):
            middle, below, above = spread([rate * scale(block) for rate in shown["rate"]])
            axes.bar(place, middle, yerr=[[below], [above]], capsize=3, color=colour(shown["label"]))
        finish_bars(axes, block, [row["label"] for row in block["rows"]])
        axes.set_ylabel(block["unit"])
        if any(row["name"] == "echo" for row in block["rows"]) and block["unit"] != "MB/s":
            axes.set_yscale("log")
    save(figure, title, file)


def finish_bars(axes: Any, block: Block, labels: list[str]) -> None:
    """Names below the bars, the work above them."""
    axes.set_xticks(range(len(labels)), [name(label) for label in labels], rotation=45, ha="right", fontsize=7)
    axes.set_title(block["title"], fontsize=9)


def save(figure: Any, title: str, file: Path) -> None:
    """Writes one plot."""
    figure.suptitle(title, fontsize=10)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def group(block: Block) -> tuple[str, int]:
    """Blocks are drawn together when they go the same way to as many workers."""
    first = block["rows"][0]
    return first["transport"], first["workers"]


def draw(data: dict[str, Any], target: Path) -> None:
    """All plots for which there are figures."""
    title = machine(data)
    tables = {table["title"]: table["blocks"] for table in data["tables"]}
    blocks = tables.get("The multiplexer", [])
    for (transport, workers), size in itertools.product((("unix", 1), ("tcp", 1), ("unix", 4)), (16, 1024)):
        works = [b for b in blocks if (b["kind"], b["size"], group(b)) == ("unary", size, (transport, workers))]
        if works:
            tail = ("" if transport == "unix" else "-tcp") + ("" if workers == 1 else f"-x{workers}")
            over = "unix socket" if transport == "unix" else "TCP loopback"
            what = f"unary echo, {size} B, {over}, {workers} worker(s); {title}"
            draw_unary(works, what, target / f"unary-{size}{tail}.svg")
            draw_cpu(works, what, target / f"cpu-{size}{tail}.svg")
    for transport, tail in (("unix", ""), ("tcp", "-tcp")):
        streams = [block for block in blocks if block["kind"] == "stream" and group(block) == (transport, 1)]
        if streams:
            draw_rates(streams, f"streams, {transport}; {title}", target / f"streams{tail}.svg")
    if python := tables.get("Python workers"):
        draw_rates(python, f"Python workers; {title}", target / "python.svg")
        draw_cpu(python, f"Python workers; {title}", target / "cpu-python.svg")


def main(source: str, directory: str) -> None:
    """Reads the figures and writes the plots."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = "snakemux"  # the same figures give the same file
    draw(load(source), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
