# %% [markdown]
# # Which score finds failures, and when to ask a human
#
# A model fails on some images. If its uncertainty is high on these, a human can look at them. This tutorial compares image scores, sets
# a threshold with a guarantee, and shows where the guarantee ends.
# {download}`Download it as a notebook <notebooks/failures_and_deferral.ipynb>`.
#
# ## Records of a model
#
# All that is needed is a table with one row per image: the Dice and some scores. `trustseg evaluate` writes it; here a small model is
# trained first, on generated chest X-rays. The test images are also measured under two [shifts](../shifts.md).

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
import torch

from trustseg.config import load_run
from trustseg.data import open_dataset, write_phantoms
from trustseg.deferral import apply_policy, fit_policy
from trustseg.evaluation import evaluate, rows_of_split
from trustseg.metrics import aurc, auroc, risk_coverage_curve
from trustseg.training import train

write_phantoms("films", train=96, test=64, control=0, size=64, seed=1, jobs=1)
pack = open_dataset("films", size=64)
run = load_run(
    None,
    [
        "data.path=films",
        "data.size=64",
        "data.validation_fraction=0.4",
        "model.head=beta",
        "model.depth=3",
        "model.decoder_channels=[32, 16, 16]",
        "training.epochs=4",
        "training.batch_size=8",
        "training.learning_rate=2e-3",
        "evaluation.attacks=[]",
        "evaluation.shifts=[gaussian_noise, brightness_up]",
        "evaluation.severities=[3]",
        "evaluation.measures=[entropy, vacuity]",
        "evaluation.aggregations=[mean, max, foreground_mean, soft_dice_confidence]",
    ],
)
segmenter = train(run, pack, Path("run"))
records = {
    split: pl.read_parquet(
        evaluate(segmenter, pack, rows_of_split(pack, split, run.data), run.evaluation, Path(split)) / "records.parquet"
    )
    for split in ("validation", "test")
}
print(records["test"].group_by("condition", maintain_order=True).agg(pl.len(), pl.col("dice").drop_nans().mean()))

# %% [markdown]
# ## Which score finds failures?
#
# A *failure* is an image with a Dice below 0.3 here; choose what matters to you. AUROC is the chance that a failed image has a higher
# score than one that did not fail: 0.5 is chance, 1 is perfect. AURC is the mean error of the images that are kept while the most
# uncertain ones are handed over: lower is better. **Choose the score on validation images, not on the test images.**

# %%
TAU = 0.3


def ranked(table: pl.DataFrame) -> pl.DataFrame:
    defined = table.filter(
        (pl.col("condition") == "clean") & pl.col("dice").is_not_nan() & pl.col("dice").is_not_null()
    )
    dice = torch.tensor(defined["dice"].to_numpy())
    rows = []
    for column in sorted(name for name in defined.columns if name.startswith("u_")):
        if defined[column].null_count() == 0:
            scores = torch.tensor(defined[column].to_numpy())
            rows.append((column, float(auroc(scores, dice < TAU)), float(aurc(scores, 1 - dice))))
    return pl.DataFrame(rows, schema=["score", "auroc", "aurc"], orient="row").sort("aurc")


scores = ranked(records["validation"])
with pl.Config(tbl_rows=-1, fmt_str_lengths=60):
    print(scores)

# %%
best = scores["score"][0]
clean = records["test"].filter((pl.col("condition") == "clean") & pl.col("dice").is_not_nan())
error = 1 - torch.tensor(clean["dice"].to_numpy())
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for column, style in ((best, "-"), (scores["score"][-1], "--")):
    curve = risk_coverage_curve(torch.tensor(clean[column].to_numpy()), error)
    axis.plot(curve.coverage, curve.risk, style, label=column)
axis.axhline(float(error.mean()), color="grey", linewidth=1, label="no images handed over")
axis.set(xlabel="share of images kept", ylabel="mean error (1 - Dice) of the kept", ylim=(0, None))
axis.legend()
plt.show()

# %% [markdown]
# ## A threshold with a guarantee
#
# `fit_policy` sets the threshold on validation images so that, on average, at most a given share of new images is sent to a human. The
# same guarantee exists for the risk of the kept images; see [Deferral](../deferral.md).
#
# On the command line: `trustseg defer fit RUN --at-most 0.3 -o policy.json`.

# %%
_, measure, aggregation = best.split("_", 2)
policy = fit_policy(
    records["validation"].filter(pl.col("condition") == "clean"),
    measure=measure,
    aggregation=aggregation,
    target="review_rate",
    at_most=0.3,
)
print(policy.statement)
print(f"threshold: {policy.threshold:.4f} of {measure}, {aggregation}")

# %% [markdown]
# ## What it does on new images, and where the guarantee ends
#
# The guarantee is about clean images of new patients like those of the validation set. Under a shift it is void: the rates are still
# measured, and may be far off.

# %%
decisions = apply_policy(policy, records["test"])
failed = pl.col("dice").is_not_nan() & (pl.col("dice") < TAU)
print(
    decisions.group_by("condition", "guarantee", maintain_order=True).agg(
        reviewed=pl.col("review").mean(),
        failures=failed.sum(),
        failures_kept=(failed & ~pl.col("review")).sum(),
        dice_kept=pl.col("dice").filter(~pl.col("review")).drop_nans().mean(),
    )
)

# %%
of_clean = decisions.filter(pl.col("condition") == "clean")
names = pack.index["name"].to_list()
figure, axes = plt.subplots(2, 4, figsize=(11, 5.6), layout="constrained")
for line, (title, wanted) in zip(axes, {"sent to a human": True, "kept": False}.items(), strict=True):
    cases = of_clean.filter(pl.col("review") == wanted).sort(best, descending=wanted).head(len(line))
    for axis in line:
        axis.axis("off")
    for axis, case in zip(line, cases.iter_rows(named=True), strict=False):
        row = names.index(case["image"])
        with torch.no_grad():
            p = segmenter.belief(torch.from_numpy(pack.images[[row]] / 255).float()).probability[0, 0]
        axis.imshow(pack.images[row, 0], cmap="gray")
        axis.contour(pack.masks[row, 0], levels=[0.5], colors="cyan", linewidths=1)
        axis.contour(p, levels=[0.5], colors="orange", linewidths=1)
        axis.set_title(f"{title}: Dice {case['dice']:.2f}, score {case[best]:.3f}", fontsize=8)
plt.show()

# %% [markdown]
# Cyan: the reference. Orange: the prediction.
#
# ## Next
#
# * [Deferral](../deferral.md): targets, how many patients a guarantee needs, policies on the command line.
# * [Attacks on the uncertainty](../attacks.md#attacks-on-uncertainty) look for wrong masks that the policy does not notice.
