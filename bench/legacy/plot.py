"""Draws results.json: calls/s as ratios to the old pipes. plot.py RESULTS.json OUT.svg"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

SIDES = {"front": "legacy", "share": "legacy --share", "mux": "mux", "wrap": "mux and wrap"}
results = json.loads(Path(sys.argv[1]).read_text())
rates = {(r["workers"], r["callers"], r["size"], r["codec"], r["side"]): r["rate"] for r in results}
cases = [
    (workers, callers, size, codec)
    for size in (16, 1 << 20)
    for codec in ("json", "msgpack")
    for workers in (1, 4)
    for callers in (1, 16)
]

figure, axes = plt.subplots(1, 2, figsize=(13, 5), sharey=True)
for axis, size in zip(axes, (16, 1 << 20), strict=True):
    shown = [case for case in cases if case[2] == size]
    for offset, (side, label) in enumerate(SIDES.items()):
        bars = [
            (at, rates[(*case, side)] / rates[(*case, "pipes")])
            for at, case in enumerate(shown)
            if (*case, side) in rates
        ]
        axis.bar([at + (offset - 1.5) * 0.2 for at, _ in bars], [ratio for _, ratio in bars], 0.2, label=label)
    axis.axhline(1, color="black", linewidth=1)
    axis.set_xticks(range(len(shown)), [f"{codec}\n{w} workers\n{c} callers" for w, c, _, codec in shown], fontsize=7)
    axis.set_title("16 bytes" if size == 16 else "1 MiB")
axes[0].set_ylabel("calls/s, the old pipes = 1")
axes[0].legend()
figure.tight_layout()
figure.savefig(sys.argv[2])
