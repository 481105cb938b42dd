# %% [markdown]
# # Review flagged cases
#
# A deferral policy sends uncertain cases to people. This tutorial predicts images, opens a review of them, decides on cases, and counts what
# came of it. {download}`Download it as a notebook <notebooks/review_flagged_cases.ipynb>`.
#
# ## A model, a policy and predictions
#
# Here a small model is trained on generated chest X-rays. The commands are those for your own images.

# %%
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from PIL import Image

from trustseg.data import write_phantoms
from trustseg.deferral import load_policy
from trustseg.metrics import dice_from_counts
from trustseg.review.actions import Review, Verdict
from trustseg.review.cases import Case, open_cases
from trustseg.review.state import Reader, Settings
from trustseg.review.verify import open_store

write_phantoms("films", train=96, test=24, control=0, size=64, seed=4, jobs=1)


def trustseg(arguments: str) -> None:
    """Run a command and print what it prints."""
    print(f"$ trustseg {arguments}")
    command = [sys.executable, "-m", "trustseg", *shlex.split(arguments)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


data = "data.path=films data.size=64 data.validation_fraction=0.4"
network = "model.head=beta model.depth=3 model.decoder_channels=[32,16,16]"
steps = "training.epochs=4 training.batch_size=8 training.learning_rate=2e-3 evaluation.attacks=[]"
trustseg(f"train {data} {network} {steps} -o runs/mine")
trustseg("evaluate runs/mine")
trustseg("defer fit runs/mine --at-most 0.3 -o policy.json")
trustseg("predict runs/mine 'films/Test Set/Images' --policy policy.json -o predictions")

# %%
print(load_policy(Path("policy.json")).statement)
table = pl.read_csv("predictions/predictions.csv")
print(table.select("image", "uncertainty", "review").head())

# %% [markdown]
# ## The page
#
# `trustseg review predictions` prints an address. On the page people rate the image alone, then see the mask, and accept, redraw or reject it.
#
# ![A generated X-ray with the contour of the predicted mask and its uncertainty](../images/review.jpg)
#
# ## What is behind it
#
# The page writes into a log through a *review*, which checks that everything is done in turn. It can be used from Python, too, for a
# reading station of your own. Here the reference masks play the reader: a mask with a Dice below 0.5 is rejected.

# %%
folder = open_cases(Path("predictions"))
review = Review(folder, open_store(Path("predictions")), Settings(readers=1, blind=True))
ann = Reader("ann", "reader")


def masks_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted mask and the reference."""
    reference = Path("films/Test Set/Ground-truths") / f"mask_{case.file.name}"
    return np.asarray(Image.open(case.mask)) > 0, np.asarray(Image.open(reference)) > 0


def dice_of(case: Case) -> float:
    predicted, reference = masks_of(case)
    return float(dice_from_counts((predicted & reference).sum(), predicted.sum(), reference.sum()))


flagged = [case for case in folder.cases if case.flagged]
for case in flagged:
    _, reference = masks_of(case)
    review.rate(case.number, ann, key=str(uuid.uuid4()), rating=5 if reference.any() else 1, seconds=4.0)
    decision = "accept" if dice_of(case) >= 0.5 else "reject"
    review.decide(case.number, ann, Verdict(decision, confidence=4, seconds=9.0), key=str(uuid.uuid4()))
print(f"{len(flagged)} of {len(folder.cases)} cases were flagged and read")

# %%
figure, axes = plt.subplots(1, min(4, len(flagged)), figsize=(11, 3), layout="constrained", squeeze=False)
for axis, case in zip(axes[0], flagged, strict=False):
    predicted, reference = masks_of(case)
    axis.imshow(Image.open(case.file), cmap="gray")
    for mask, colour in ((reference, "cyan"), (predicted, "orange")):
        if mask.any():
            axis.contour(mask, levels=[0.5], colors=colour, linewidths=1)
    axis.set_title(f"case {case.number}: score {case.score:.2f}, Dice {dice_of(case):.2f}", fontsize=8)
    axis.axis("off")
plt.show()

# %% [markdown]
# Cyan: the reference, which readers do not have. Orange: the prediction.
#
# ## What came of it
#
# `review report` tells how long cases took, how many masks were overridden and what failed; `review verify` finds every later change of the log.

# %%
review.store.close()
trustseg("review report predictions")
trustseg("review verify predictions")

# %% [markdown]
# ## Next
#
# * [Review](../review.md): several readers, adjudication, a stop switch, and what the server refuses.
# * [Which score finds failures](failures_and_deferral.py), and how the threshold of a policy is set.
# * [DICOM](../dicom.md): predictions as objects for an archive.
