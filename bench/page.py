"""Writes the figures of bench.json as a page of Markdown beside the plots: python page.py bench.json DIRECTORY."""

import statistics
import sys
from pathlib import Path
from typing import Any

from figures import Block, Row, has_beam, load, machine, scale

HEAD = """# What was measured

Written by `make -C bench publish BENCH='{command}'`; how it is measured, and what the contestants are, is in
[bench/README.md](../../bench/README.md). All figures, every round of them: [results.json](results.json).

{machine}.

Medians of the rounds with the lowest and the highest. CPU in microseconds per call or message; *client* is the bare
client or the port program. Ratios are those of each round to the first contestant in the same round.
"""


def one(value: float) -> str:
    """A figure of any size."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}".removesuffix(".0")


def middle(values: list[float], factor: float = 1.0) -> str:
    """Median and range."""
    shown = [value * factor for value in values]
    return f"{one(statistics.median(shown))} ({one(min(shown))} to {one(max(shown))})"


def latency(values: list[float]) -> str:
    """A stream has none."""
    return one(statistics.median(values)) if max(values) > 0 else ""


def line(block: Block, row: Row) -> str:
    """One contestant."""
    ratios = [a / max(b, 1.0) for a, b in zip(row["rate"], block["rows"][0]["rate"], strict=True)]
    cells = [
        f"`{row['label']}`",
        row["transport"],
        middle(row["rate"], scale(block)),
        latency(row["p50"]),
        latency(row["p99"]),
        one(statistics.median(row["client"])),
        one(statistics.median(row["beam"])) if has_beam(row) else "",
        one(statistics.median(row["worker"])),
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
    ]
    return "| " + " | ".join(cells) + " |"


def table(block: Block) -> str:
    """One kind of work."""
    head = f"| | over | {block['unit']} | p50 µs | p99 µs | client | BEAM | worker | of the first |"
    return "\n".join([f"### {block['title']}\n", head, "|---" * 9 + "|", *(line(block, row) for row in block["rows"])])


def goal(judged: dict[str, Any]) -> str:
    """What was wanted, what came out."""
    values = judged["values"]
    verdict = "reached" if judged["reached"] else "**missed**"
    found = f"{statistics.median(values):.2f}"
    if len(values) > 1:
        found += f" ({min(values):.2f} to {max(values):.2f})"
    return f"| {judged['text']} | {judged['limit']} | {found} | {verdict} |"


def page(data: dict[str, Any], plots: list[str]) -> str:
    """The whole of it."""
    parts = [HEAD.format(command=f"--set {data['options']['set']}", machine=machine(data))]
    goals = "\n".join(goal(judged) for judged in data["goals"] if judged["values"])
    parts.append("## Goals\n\n| | wanted | measured | |\n|---|---|---|---|\n" + goals + "\n")
    if data["extra"]:
        found = [f"| {item['text']} | {one(item['value'])} |" for item in data["extra"]]
        parts.append("## Beside the rates\n\n| | |\n|---|---|\n" + "\n".join(found) + "\n")
    parts.append("## Plots\n\n" + "\n\n".join(f"![{plot.removesuffix('.svg')}]({plot})" for plot in plots) + "\n")
    for group in data["tables"]:
        parts.append(f"## {group['title']}\n\n" + "\n\n".join(map(table, group["blocks"])) + "\n")
    return "\n".join(parts)


def main(source: str, directory: str) -> None:
    """Reads the figures and writes README.md."""
    target = Path(directory)
    plots = sorted(path.name for path in target.glob("*.svg"))
    (target / "README.md").write_text(page(load(source), plots))


if __name__ == "__main__":
    main(*sys.argv[1:])
