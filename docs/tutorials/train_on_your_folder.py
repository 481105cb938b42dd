# %% [markdown]
# # Train an evidential U-Net on your folder
#
# From a folder of images and masks to a trained, calibrated and evaluated model whose every pixel says how much evidence it has.
# {download}`Download it as a notebook <notebooks/train_on_your_folder.ipynb>`. Each step names the command that does the same.
#
# ## The folder
#
# Replace `films` by your own folder; [Data](../data.md) lists the layouts. Here trustseg generates chest X-rays.
# On the command line: `trustseg data check films --size 64`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import torch

from trustseg.calibration import Calibrated, fit_calibration
from trustseg.config import load_run
from trustseg.data import check_dataset, open_dataset, write_phantoms
from trustseg.evaluation import evaluate, rows_of_split
from trustseg.training import train

write_phantoms("films", train=64, test=16, control=0, size=64, seed=0, jobs=1)
report = check_dataset("films", size=64)
print(f"layout: {report.layout}")
for finding in report.findings:
    print(f"{finding.severity}: {finding.message}")

# %%
pack = open_dataset("films", size=64)
rows = np.flatnonzero((pack.index["split"] == "train").to_numpy())[:5]
figure, axes = plt.subplots(1, 5, figsize=(13, 2.8), layout="constrained")
for axis, row in zip(axes, rows, strict=True):
    axis.imshow(pack.images[row, 0], cmap="gray")
    if pack.masks[row].any():
        axis.contour(pack.masks[row, 0], levels=[0.5], colors="cyan", linewidths=1)
    axis.set_title(pack.index["name"][int(row)], fontsize=8)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Training
#
# A *beta* head gives a Beta distribution for every pixel. Settings are written as on the command line;
# [Configuration](../reference/configuration.md) lists all of them. The network here is small and sees few images, so that this page
# builds quickly: for real data use the defaults, at least 30 epochs, and pretrained weights (`model.weights=imagenet`).
#
# On the command line: `trustseg train data.path=films data.size=64 model.head=beta ... -o runs/mine`.

# %%
settings = [
    "data.path=films",
    "data.size=64",
    "model.head=beta",
    "model.depth=3",
    "model.decoder_channels=[32, 16, 16]",
    "training.epochs=4",
    "training.batch_size=8",
    "training.learning_rate=2e-3",
    "evaluation.attacks=[{name: fgsm, eps: [1/255, 2/255]}]",
]
run = load_run(None, settings)
segmenter = train(run, pack, Path("runs/mine")).eval()
metrics = pl.read_csv("runs/mine/metrics.csv")
print(metrics.select("epoch", "train_loss", "seconds"))

# %% [markdown]
# ## Calibration
#
# Training makes probabilities too sure or not sure enough. One factor for all evidence is fitted on the validation images.
#
# On the command line: `trustseg calibrate runs/mine`.

# %%
validation = rows_of_split(pack, "validation", run.data)
images = torch.from_numpy(pack.images[validation] / 255).float()
masks = torch.from_numpy(pack.masks[validation]).float()
with torch.no_grad():
    beliefs = [(segmenter.belief(images), masks)]
patients = [str(pack.index["patient"][int(row)]) for row in validation]
fitted = fit_calibration(beliefs, method="evidence_scaling", patients=patients)
calibrated = Calibrated(segmenter, fitted)
print(f"evidence is multiplied by {fitted.parameters['scale']:.2f}")
print(f"negative log-likelihood: {fitted.nll_before:.3f} before, {fitted.nll_after:.3f} after")

# %% [markdown]
# ## Evaluation
#
# An evaluation writes one row per image and condition. On the command line: `trustseg evaluate runs/mine`.

# %%
folder = evaluate(calibrated, pack, rows_of_split(pack, "test", run.data), run.evaluation, Path("runs/mine/test"))
records = pl.read_parquet(folder / "records.parquet")
table = records.group_by("condition", "eps", maintain_order=True).agg(
    images=pl.len(), dice=pl.col("dice").drop_nans().mean(), vacuity=pl.col("u_vacuity_mean").mean()
)
print(table)

# %% [markdown]
# ## What the model is unsure of
#
# *Vacuity* is 1 without evidence and near 0 with much. *Dissonance* is high where evidence for and against foreground is in conflict;
# see [Uncertainty](../uncertainty.md).

# %%
row = int(records.filter(pl.col("condition") == "clean")["mask_px"].arg_max() or 0)
chosen = int(rows_of_split(pack, "test", run.data)[row])
image = torch.from_numpy(pack.images[[chosen]] / 255).float()
with torch.no_grad():
    belief = calibrated.belief(image)
maps = {"image": image, "probability": belief.probability}
maps |= {name: belief.uncertainty(name) for name in ("entropy", "vacuity", "dissonance")}
figure, axes = plt.subplots(1, 5, figsize=(13, 2.8), layout="constrained")
for axis, (title, values) in zip(axes, maps.items(), strict=True):
    drawn = axis.imshow(values[0, 0], cmap="gray" if title == "image" else "viridis")
    axis.contour(pack.masks[chosen, 0], levels=[0.5], colors="cyan", linewidths=1)
    axis.set_title(title)
    axis.axis("off")
    if title != "image":
        figure.colorbar(drawn, ax=axis, shrink=0.7)
plt.show()

# %% [markdown]
# ## Next
#
# * [Which score finds failures](failures_and_deferral.py), and when to ask a human.
# * [Training](../training.md): heads, losses, adversarial training, several devices.
# * `trustseg predict runs/mine IMAGES` writes masks and uncertainty maps for new images.
