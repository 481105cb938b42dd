# %% [markdown]
# # Audit a model and gate it in CI
#
# An audit answers whether a trained model meets what you ask of it, with intervals over patients, and ends with an exit code that
# continuous integration can act on. {download}`Download it as a notebook <notebooks/audit_and_gate.ipynb>`.
#
# ## A model and labelled images
#
# Any trained model will do, or a folder of its predictions; [Models from elsewhere](../foreign_models.md) lists the forms. Here trustseg
# generates chest X-rays and trains a small network on them.

# %%
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

import trustseg
from trustseg.config import load_run
from trustseg.data import open_dataset, write_phantoms
from trustseg.training import train

write_phantoms("films", train=96, test=32, control=8, size=64, seed=2, jobs=1)
settings = [
    "data.path=films",
    "data.size=64",
    "model.depth=3",
    "model.decoder_channels=[32, 16, 16]",
    "training.epochs=4",
    "training.batch_size=8",
    "training.learning_rate=2e-3",
]
train(load_run(None, settings), open_dataset("films", size=64), Path("runs/mine"))

# %% [markdown]
# ## What is asked of it
#
# Requirements stand in a file, so that they can be agreed on before anybody sees a result. A requirement is *met* if the whole interval lies
# on the right side of its bound, *not met* if it lies on the wrong side, and otherwise *not shown*: then the data do not decide.
# [Audit](../audit.md#requirements) lists the metrics and conditions. The bounds here are made up.

# %%
Path("requirements.yaml").write_text("""
requirements:
  - {metric: pooled_dice, at_least: 0.3}
  - {metric: dice_drop, condition: brightness_up@2, at_most: 0.15}
  - {metric: dice, condition: pgd@1/255, at_least: 0.5}
  - {metric: false_positive_area, at_most: 0.1}
""")

# %% [markdown]
# ## The audit
#
# On the command line, as continuous integration runs it. The budget bounds the time for changed images; what the requirements ask
# for is measured in any case.

# %%
command = "audit runs/mine films --split test --require requirements.yaml --budget 5s -o audits/mine"
print("trustseg", command)
done = subprocess.run([sys.executable, "-m", "trustseg", *command.split()], stdout=subprocess.PIPE, text=True)
print(done.stdout)
print("exit code:", done.returncode)

# %% [markdown]
# Exit code 0: all requirements are met. 1: at least one is not met, or not shown. 2: bad input, nothing was judged. `audits/mine/audit.html`
# holds the verdicts, ways to break the model, and when to trust it; `audit.json` the same for programs, and `tables/` as CSV.

# %%
pictures = sorted(Path("audits/mine/figures").glob("case_*.png"))
figure, axes = plt.subplots(len(pictures), 1, figsize=(9, 3.2 * len(pictures)), layout="constrained", squeeze=False)
for axis, picture in zip(axes[:, 0], pictures, strict=True):
    axis.imshow(plt.imread(picture))
    axis.axis("off")
plt.show()

# %% [markdown]
# ## The same in Python
#
# The same audit, started again, goes on where it stopped: here everything is measured, and only the verdicts are made anew.

# %%
found = trustseg.audit("runs/mine", "films", "requirements.yaml", folder="audits/mine", split="test", budget="5s")
rows = [(each.text, each.outcome, each.interval.text(3)) for each in found.verdicts]
with pl.Config(fmt_str_lengths=60):
    print(pl.DataFrame(rows, schema=["requirement", "verdict", "interval"], orient="row"))
print("passed:", found.passed)

# %% [markdown]
# ## The gate
#
# Put the model, `requirements.yaml` and the command of the audit into a workflow: the exit code fails the job. Ready to copy are
# [a workflow for GitHub](../../examples/audit_gate.yml) and [a pytest file](../../examples/test_model_gate.py) with one test per requirement.
#
# * Keep the test images out of the repository, and add `--no-pictures`: pictures of patients do not belong among the artefacts of a build.
# * Compare a candidate with the model in use on the same cases, paired: `trustseg audit --compare audits/in_use audits/candidate`.
# * *Not shown* fails, too. More patients narrow the intervals; a lower bound after the fact does not make a model better.
#
# ## Next
#
# * [Audit](../audit.md): all metrics, conditions and forms of models.
# * [Deferral](../deferral.md): let uncertain cases go to a human where a model cannot meet a bound on its own.
