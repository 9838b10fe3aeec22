"""The figures of bench.json, as the plots and the page read them."""

import json
import statistics
from pathlib import Path
from typing import Any

Block = dict[str, Any]
Row = dict[str, Any]


def load(file: str) -> dict[str, Any]:
    """What the harness wrote."""
    data: dict[str, Any] = json.loads(Path(file).read_text())
    return data


def machine(data: dict[str, Any]) -> str:
    """Where it was measured, and how, in one line."""
    about, options = data["machine"], data["options"]
    where = f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB"
    runs = f"Linux {about['kernel']}, OTP {about['otp']} {about['erl_flags']}".strip()
    return f"{where}, {runs}; {options['rounds']} rounds of {options['ms']} ms, load {about['load']} before"


def row(block: Block, label: str) -> Row | None:
    """The row of a contestant, by its label."""
    return next((row for row in block["rows"] if row["label"] == label), None)


def scale(block: Block) -> float:
    """What turns messages into the unit of the block."""
    return float(block["size"]) / 1e6 if block["unit"] == "MB/s" else 1.0


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, and how far below and above it the rounds went."""
    middle = statistics.median(values)
    return middle, middle - min(values), max(values) - middle


def has_beam(row: Row) -> bool:
    """Whether the VM takes part in the call."""
    return row["name"] not in ("bare", "tuned", "old_direct", "floor")
