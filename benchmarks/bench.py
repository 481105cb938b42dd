"""Measure every figure of a suite and print it beside its target: ``make bench``, or ``python -m benchmarks.bench``.

Writes runs/bench.json, in which the figures of a CPU and of a GPU stand side by side; CUDA_VISIBLE_DEVICES=
hides the GPU. A ratio compares two ways of doing the same work in one run, so it means something elsewhere.
scripts/performance_page.py makes docs/performance.md of it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch

SUITES = (
    *("attacks", "metrics", "data", "training", "costs", "epoch"),
    *("augmentation", "evaluation", "audit", "scaling", "compile"),
)
ON_HOST = ("data", "audit")  # suites that no GPU has a part in


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
        rows, module = [], import_module(f"benchmarks.{suite}")
        for figure in module.figures():
            verdict = {None: "", True: "holds", False: "MISSED"}[figure.holds]
            sign = "<=" if figure.better == "less" else ">="
            wanted = f"{sign} {figure.target:g}" if figure.target is not None else ""
            print(f"{figure.name:62} {figure.value:10.4g} {figure.unit:4} {wanted:10} {verdict}", flush=True)
            for key, value in figure.details.items():
                print(f"    {key:30} {value:.4g}" if isinstance(value, float) else f"    {key:30} {value}", flush=True)
            rows.append({**asdict(figure), "holds": figure.holds})
        about = (module.__doc__ or suite).splitlines()[0]
        on_gpu = torch.cuda.is_available() and suite not in ON_HOST
        here = content.setdefault("gpu" if on_gpu else "cpu", {})
        here[suite] = {"about": about, "machine": machine(on_gpu=on_gpu), "figures": rows}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(content, indent=2) + "\n")  # after each suite: a later one may fail


def machine(*, on_gpu: bool) -> dict[str, object]:
    """Return what the figures depend on; the GPU is named where it computed."""
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
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit that is measured, marked where files were changed since; None outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


if __name__ == "__main__":
    main()
