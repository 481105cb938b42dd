# %% [markdown]
# # Losses, attacks and metrics in your own loop
#
# The parts of trustseg are plain functions of tensors. This tutorial uses them in a training loop that you own: first in plain PyTorch,
# with adversarial training on the most uncertain images of each batch, then in a LightningModule.
# {download}`Download it as a notebook <notebooks/your_own_loop.ipynb>`.

# %%
import lightning.pytorch as pl
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trustseg.attacks import fgsm, pgd
from trustseg.beliefs import Belief, Beta
from trustseg.data import open_dataset, write_phantoms
from trustseg.losses import segmentation_loss
from trustseg.metrics import AUSE, Dice, dice
from trustseg.selection import SELECTIONS
from trustseg.uncertainty import AGGREGATIONS

write_phantoms("films", train=128, test=16, control=0, size=32, seed=0, jobs=1)
pack = open_dataset("films", size=32)


def images_and_masks(split: str) -> tuple[Tensor, Tensor]:
    rows = np.flatnonzero((pack.index["split"] == split).to_numpy())
    return torch.from_numpy(pack.images[rows] / 255).float(), torch.from_numpy(pack.masks[rows]).float()


images, masks = images_and_masks("train")
test_images, test_masks = images_and_masks("test")


# %% [markdown]
# ## A network whose output is a Beta
#
# An evidential network gives two numbers per pixel: evidence for foreground and evidence against it.


# %%
class Evidential(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = [(1, 16, 2), (16, 32, 2), (32, 32, 1)]
        blocks = [
            nn.Sequential(nn.Conv2d(i, o, 3, stride=s, padding=1), nn.BatchNorm2d(o), nn.ReLU()) for i, o, s in widths
        ]
        self.layers = nn.Sequential(*blocks, nn.Upsample(scale_factor=4, mode="bilinear"), nn.Conv2d(32, 2, 1))

    def forward(self, images: Tensor) -> Belief:
        evidence = self.layers(images).clamp(max=10).exp()
        return Beta(1 + evidence[:, :1], 1 + evidence[:, 1:])


# %% [markdown]
# ## A loop in plain PyTorch
#
# Half of each batch is attacked: the images that the network is least sure of. `attacked="none"` trains without attacks.


# %%
def trained(attacked: str, *, steps: int = 120, eps: float = 2 / 255) -> Evidential:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Evidential()
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(images), (16,))
        batch, target = images[rows].clone(), masks[rows]
        if attacked != "none":
            with torch.no_grad():
                belief = model(batch)
                scores = AGGREGATIONS["mean"](belief.uncertainty("vacuity"), belief.probability)
            chosen = SELECTIONS[attacked](scores, 8, generator)
            batch[chosen] = fgsm(model, batch[chosen], target[chosen], eps=eps, keep_best=False)
        loss = segmentation_loss(model(batch), target, data_term="type_ii_likelihood").mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


models = {attacked: trained(attacked) for attacked in ("none", "random", "uncertain")}

# %% [markdown]
# ## Measure them
#
# Functions give one value per image; metric objects of torchmetrics collect batches, across processes too. nAUSE is 0 if uncertainty ranks all
# wrong pixels first, and 1 for a random order. These networks are far too small to compare the methods: the
# [findings](../findings.md) do.

# %%
budgets = [0, 1, 2, 4]
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, model in models.items():
    overlap, ranking = Dice(), AUSE(normalized=True)
    with torch.no_grad():
        belief = model(test_images)
    overlap.update(belief.probability > 0.5, test_masks)
    ranking.update(belief.uncertainty("entropy"), belief.probability, test_masks)
    print(f"{name:10} Dice {overlap.compute():.3f}  nAUSE {ranking.compute():.3f}")
    curve = []
    for level in budgets:
        changed = pgd(model, test_images, test_masks, eps=level / 255, steps=10)
        curve.append(float(dice(model(changed).probability > 0.5, test_masks).nanmean()))
    axis.plot(budgets, curve, marker="o", label=f"attacked in training: {name}")
axis.set(xlabel="eps, grey levels", ylabel="mean Dice under PGD-10", ylim=(0, None))
axis.legend()
plt.show()

# %% [markdown]
# ## The same in Lightning
#
# The step calls the same functions. Attacks compute gradients of their own and leave those of the network alone.


# %%
class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = Evidential()
        self.overlap = Dice()

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        images, masks = batch
        attacked = fgsm(self.model, images, masks, eps=2 / 255, keep_best=False)
        return segmentation_loss(self.model(attacked), masks, data_term="type_ii_likelihood").mean()

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        images, masks = batch
        self.overlap.update(self.model(images).probability > 0.5, masks)
        self.log("dice", self.overlap)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


module = Module()
trainer = pl.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(
    module,
    DataLoader(TensorDataset(images, masks), batch_size=16, shuffle=True),
    DataLoader(TensorDataset(test_images, test_masks), batch_size=16),
)
print(f"Dice after {trainer.current_epoch} epochs: {trainer.callback_metrics['dice']:.3f}")

# %% [markdown]
# ## Next
#
# * [Losses](../losses.md), [attacks](../attacks.md) and [measures](../uncertainty.md), each with its formula and source.
# * [Training](../training.md): the loop of trustseg, with warm-up, exact resumption and checks for catastrophic overfitting.
