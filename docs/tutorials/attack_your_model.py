# %% [markdown]
# # Attack your own PyTorch model
#
# You have a trained segmentation network. This tutorial shows how far small changes of the images break it, and whether that
# figure can be trusted. {download}`Download it as a notebook <notebooks/attack_your_model.ipynb>`.
#
# ## Images and a network
#
# Replace this section by your own data and network. Here trustseg generates chest X-rays, and a small network learns to find the
# infection in them. Images are (B, C, H, W) in [0, 1], masks (B, 1, H, W) with values 0 and 1.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from trustseg.attacks import ATTACKS, OBJECTIVES, ensemble, pgd
from trustseg.beliefs import Belief, Bernoulli
from trustseg.data import open_dataset, write_phantoms
from trustseg.evaluation.masking_checks import masking_checks
from trustseg.losses import segmentation_loss
from trustseg.metrics import dice

write_phantoms("films", train=192, test=12, control=0, size=64, seed=0, jobs=1)
pack = open_dataset("films", size=64)


def images_and_masks(split: str) -> tuple[Tensor, Tensor]:
    rows = np.flatnonzero((pack.index["split"] == split).to_numpy())
    return torch.from_numpy(pack.images[rows] / 255).float(), torch.from_numpy(pack.masks[rows]).float()


images, masks = images_and_masks("train")
test_images, test_masks = images_and_masks("test")
print("training:", tuple(images.shape), " test:", tuple(test_images.shape))


# %%
def block(inputs: int, outputs: int, **options: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs), nn.ReLU())


torch.manual_seed(0)
network = nn.Sequential(
    block(1, 16, stride=2),
    block(16, 32, stride=2),
    block(32, 64, stride=2),
    block(64, 64),
    block(64, 64),
    nn.Upsample(scale_factor=8, mode="bilinear"),
    nn.Conv2d(64, 1, 1),  # one logit per pixel
)
steps = 100
optimizer = torch.optim.Adam(network.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
for _ in range(steps):
    chosen = torch.randint(len(images), (16,))
    belief = Bernoulli(network(images[chosen]))
    loss = segmentation_loss(belief, masks[chosen], data_term="binary_cross_entropy").mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
network.eval()
print(f"loss of the last batch: {loss.item():.3f}")

# %% [markdown]
# ## One wrapper
#
# trustseg attacks *beliefs*: distributions over the foreground probability of each pixel. A network with one logit per pixel becomes
# a belief in one line. [Start as an engineer](../start/engineer.md) lists the wrappers for other outputs.


# %%
class BeliefModel(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Belief:
        return Bernoulli(self.network(images))


model = BeliefModel(network).eval()


def mean_dice(images: Tensor) -> float:
    with torch.no_grad():
        return float(dice(model(images).probability > 0.5, test_masks).nanmean())


clean = mean_dice(test_images)
print(f"mean Dice of {len(test_images)} test images: {clean:.3f}")

# %% [markdown]
# ## One attack, several budgets
#
# `eps` is the largest change of a pixel: 4/255 is four grey levels of 256, which nobody sees. `pgd` looks for the most harmful change
# within that budget.

# %%
levels = [1, 2, 4, 8]
attacked = {level: pgd(model, test_images, test_masks, eps=level / 255, steps=10) for level in levels}
for level in levels:
    change = (attacked[level] - test_images).abs().max() * 255
    print(f"eps = {level}/255: Dice {mean_dice(attacked[level]):.3f}, largest change {change:.2f} grey levels")

# %%
worst = int(dice(model(test_images).probability > 0.5, test_masks).nan_to_num().argmax())  # the best clean image
shown = {"image": test_images, "attacked, 4/255": attacked[4]}
figure, axes = plt.subplots(1, 5, figsize=(13, 3), layout="constrained")
for axis, (title, picture) in zip(axes[:2], shown.items(), strict=True):
    axis.imshow(picture[worst, 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
axes[2].imshow((attacked[4] - test_images)[worst, 0] * 255, cmap="RdBu", vmin=-4, vmax=4)
axes[2].set_title("change, grey levels")
for axis, (title, picture) in zip(axes[3:], shown.items(), strict=True):
    axis.imshow(model(picture).probability.detach()[worst, 0], cmap="magma", vmin=0, vmax=1)
    axis.contour(test_masks[worst, 0], levels=[0.5], colors="cyan", linewidths=1)
    axis.set_title(f"probability: {title}")
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# The cyan line is the reference mask.
#
# ## The worst case over several attacks
#
# A robustness figure is only as good as the strongest attack behind it. `ensemble` runs several attacks with different objectives and
# keeps the worst result of each image; it never reports a model as more robust than one of its members does.

# %%
generator = torch.Generator().manual_seed(0)
few = slice(0, 6)
by_pgd = dice(model(attacked[2][few]).probability > 0.5, test_masks[few])
found = ensemble(model, test_images[few], test_masks[few], eps=2 / 255, generator=generator)
by_ensemble = dice(model(found).probability > 0.5, test_masks[few])
print(
    f"eps = 2/255, {len(by_pgd)} images: Dice {by_pgd.nanmean():.3f} by PGD-10, {by_ensemble.nanmean():.3f} by the ensemble"
)
print("attacks:", ", ".join(ATTACKS))
print("objectives:", ", ".join(OBJECTIVES))

# %% [markdown]
# ## Can the figure be trusted?
#
# A network whose gradients are useless *seems* robust. `masking_checks` looks for signs of that. Use 16 to 32 images and 2000 queries
# for Square; here there are fewer, so that the page builds quickly.

# %%
checks = masking_checks(model, test_images[:2], test_masks[:2], square_steps=20)
for check in checks:
    print(f"{check.status:11} {check.name:18} {check.meaning}")

# %% [markdown]
# A check that is *suspicious* means that the robustness figures of this network are not to be trusted. *not_run* names what a check
# lacked, such as another model for `transfer`.
#
# ## Next
#
# * [Which score finds failures](failures_and_deferral.py), and when to ask a human.
# * [All attacks and objectives](../attacks.md), minimal budgets, attacks on the uncertainty itself.
# * [Use losses, attacks and metrics in your own training loop](your_own_loop.py), also against attacks.
