# %% [markdown]
# # A study on a cluster
#
# A study trains one model for every combination of a grid. This tutorial plans one, tries a single cell on this machine, and prepares the
# job array for SLURM. {download}`Download it as a notebook <notebooks/study_on_a_cluster.ipynb>`.
#
# ## The grid
#
# Replace `films` by your data, on a file system that the compute nodes share. Keys in `grid` that are not repetitions (`training.seed`,
# `data.fold`) make variants; here 2 variants times 3 seeds. The networks are small, so that this page builds quickly.

# %%
import subprocess
import sys
from pathlib import Path

import polars as pl

from trustseg.data import write_phantoms

write_phantoms("films", train=48, test=16, control=0, size=48, seed=3, jobs=1)
Path("mine.yaml").write_text("""
data: {path: films, size: 48}
model: {head: beta, depth: 3, decoder_channels: [16, 16, 8]}
training: {epochs: 2, batch_size: 8}
evaluation: {attacks: [{name: pgd, steps: 5, eps: [2/255]}], gallery: 0}
grid:
  training.seed: [0, 1, 2]
  adversarial.selection: [none, random]
""")


def trustseg(arguments: str) -> None:
    """Run a command and print what it prints."""
    print(f"$ trustseg {arguments}")
    command = [sys.executable, "-m", "trustseg", *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout if done.returncode == 0 else done.stderr)


# %% [markdown]
# ## Plan
#
# `--plan` counts cells and passes, and takes the time of one pass on this machine. It writes nothing, and finds mistakes in the file before
# a queue does.

# %%
trustseg("study mine.yaml --plan")

# %% [markdown]
# ## One cell on this machine
#
# A setting on the command line takes the place of the one in the file. A grid of one seed and one selection is one cell; if it ends well, so
# will the others. Cells that are finished are kept when the study grows.

# %%
trustseg("study mine.yaml grid.training.seed=[0] grid.adversarial.selection=[none] --jobs 1")
trustseg("study mine.yaml --status")

# %% [markdown]
# The cell has its records, one row per image and condition:

# %%
(cell,) = Path("runs/mine/cells").glob("*/done.json")
records = pl.read_parquet(cell.parent / "records.parquet")
print(records.group_by("condition", "eps", maintain_order=True).agg(pl.len(), pl.col("dice").drop_nans().mean()))

# %% [markdown]
# ## The job array
#
# On the login node of a cluster, with the extra `slurm`. `--dry-run` prints the script and the largest cost; nothing is submitted, so it
# works here, too. A profile holds the fields of a site, such as cores and memory; every field can be set.

# %%
trustseg("study mine.yaml --cluster slurm --profile generic slurm.timeout_min=120 slurm.account=NAME --dry-run")

# %% [markdown]
# Without `--dry-run` the same line submits the array and returns. A cell that reaches the time limit requeues itself and goes on with its last
# epoch. Then:
#
# * `trustseg study mine.yaml --status` tells the state of each cell, from any machine that sees the folder;
# * the same submission again sends lost and failed cells only;
# * `trustseg report runs/mine` writes the report, also on those cells that are done so far.
#
# ## Next
#
# * [Studies](../studies.md#running-on-a-slurm-cluster): time limits, preemption, profiles.
# * [Containers](../containers.md): an Apptainer image for nodes without Python.
# * [Hypotheses](../studies.md#hypotheses) are written down before the study runs, and tested by the report.
