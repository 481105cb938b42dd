# %% [markdown]
# # Uncertainty-driven adversarial training
#
# Adversarial training shows attacked images to a network while it learns. Attacks cost time, so not every image of a batch need be attacked.
# This tutorial trains without attacks, with randomly chosen images attacked, and with the most uncertain ones, and compares the three.
# {download}`Download it as a notebook <notebooks/adversarial_training.ipynb>`.
#
# ## Three trainings that differ in one key
#
# On the command line: `trustseg train data.path=films ... adversarial.selection=uncertain -o runs/uncertain`; for a real comparison, a
# [study](../studies.md) with several seeds.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

from trustseg.config import load_run
from trustseg.data import open_dataset, write_phantoms
from trustseg.evaluation import evaluate, rows_of_split
from trustseg.training import train

write_phantoms("films", train=64, test=24, control=0, size=64, seed=2, jobs=1)
pack = open_dataset("films", size=64)
settings = [
    "data.path=films",
    "data.size=64",
    "model.head=beta",
    "model.depth=3",
    "model.decoder_channels=[32, 16, 16]",
    "training.epochs=4",
    "training.batch_size=8",
    "training.learning_rate=2e-3",
    "training.validation_every=4",
    "training.validation_steps=1",
    "adversarial.attack=fgsm",
    "adversarial.eps=1/255",
    "adversarial.fraction=0.5",
    "adversarial.warmup_epochs=1",
    "adversarial.ramp_epochs=1",
    "evaluation.attacks=[{name: pgd, steps: 5, eps: [1/255, 2/255, 4/255]}]",
    "evaluation.aggregations=[mean, soft_dice_confidence]",
]

tables, costs = {}, []
for selection in ("none", "random", "uncertain"):
    run = load_run(None, [*settings, f"adversarial.selection={selection}"])
    folder = Path(selection)
    segmenter = train(run, pack, folder)
    metrics = pl.read_csv(folder / "metrics.csv")
    costs.append(
        (selection, *metrics.select(pl.col("forward_passes", "backward_passes", "adversarial_images").sum()).row(0))
    )
    rows = rows_of_split(pack, "test", run.data)
    tables[selection] = pl.read_parquet(evaluate(segmenter, pack, rows, run.evaluation, folder) / "records.parquet")

# %% [markdown]
# ## What it costs
#
# Passes are counted while the network trains. Choosing the uncertain images needs one more forward pass of each attacked batch.

# %%
print(pl.DataFrame(costs, schema=["selection", "forward", "backward", "attacked images"], orient="row"))

# %% [markdown]
# ## What it gives
#
# Three small networks that saw few images show how the comparison is made, and no more. Differences between trainings with other seeds
# may be as large; [Findings](../findings.md) has the comparison with seeds, folds and intervals.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for selection, records in tables.items():
    means = records.group_by("eps", maintain_order=True).agg(
        dice=pl.col("dice").drop_nans().mean(), vacuity=pl.col("u_vacuity_mean").mean()
    )
    left.plot(means["eps"] * 255, means["dice"], marker="o", label=selection)
    right.plot(means["eps"] * 255, means["vacuity"], marker="o", label=selection)
left.set(xlabel="eps, grey levels", ylabel="mean Dice under PGD-5", ylim=(0, None))
right.set(xlabel="eps, grey levels", ylabel="mean vacuity")
left.legend(title="attacked in training")
plt.show()

# %% [markdown]
# The right figure asks whether a network notices that it is attacked: does its uncertainty rise while its Dice falls? A network that gets
# worse and stays sure is the dangerous one.
#
# ## Next
#
# * [Training](../training.md): attacks, selections, fractions, robust losses, and catastrophic overfitting.
# * Judge robustness by the [attack suite](../attacks.md#the-attack-suite), not by the attack that was trained on.
