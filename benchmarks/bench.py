"""Measure every figure of a suite and print it beside its target: ``make bench``, or ``python -m benchmarks.bench``.

Writes runs/bench.json. A ratio compares two ways of doing the same work in one run, so it means something elsewhere.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch

SUITES = ("attacks", "metrics", "data")


def main() -> None:
    """Run the suites that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"some of {', '.join(SUITES)} (default: all)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench.json"), help="default: %(default)s")
    options = parser.parse_args()
    unknown = [suite for suite in options.suites if suite not in SUITES]
    if unknown:
        parser.error(f"no suite '{unknown[0]}', known are {', '.join(SUITES)}")
    content = json.loads(options.output.read_text()) if options.output.exists() else {}
    for suite in options.suites:
        rows = []
        for figure in import_module(f"benchmarks.{suite}").figures():
            verdict = {None: "", True: "holds", False: "MISSED"}[figure.holds]
            sign = "<=" if figure.better == "less" else ">="
            wanted = f"{sign} {figure.target:g}" if figure.target is not None else ""
            print(f"{figure.name:62} {figure.value:10.4g} {figure.unit:4} {wanted:10} {verdict}", flush=True)
            for key, value in figure.details.items():
                print(f"    {key:30} {value:.4g}" if isinstance(value, float) else f"    {key:30} {value}", flush=True)
            rows.append({**asdict(figure), "holds": figure.holds})
        content[suite] = {"machine": machine(), "figures": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(content, indent=2) + "\n")


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    main()
