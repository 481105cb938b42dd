"""What other libraries tell of one segmentation model, in as few lines as it takes; prints a table of docs/audit.md.

Run: python examples/peers.py, where some of adversarial-robustness-toolbox, heart-library, maite, nrtk[headless], monai
and torch-uncertainty are installed; what is not is named in the table. The model is a small U-Net that is fitted to
generated chest X-rays first, so the figures say nothing about patients.
"""

import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trustseg.data import open_dataset, write_phantoms
from trustseg.metrics import dice

Figures = Mapping[str, float]
Arrays = Sequence[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Scene:
    """Images (B, 1, H, W) in [0, 1] and masks (B, 1, H, W) in {0, 1}, and the folder that they are read from."""

    folder: Path
    images: Tensor
    masks: Tensor


def art_figures(model: nn.Module, scene: Scene) -> Figures:
    """Attack with PGD: to ART, each pixel is a class of one image, as it knows no segmentation."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    def loss(logits: Tensor, labels: Tensor) -> Tensor:  # of a BCEWithLogitsLoss it would take the largest label alone
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)

    shape, labels = tuple(scene.images.shape[1:]), scene.masks.flatten(1).numpy()
    flat = nn.Sequential(model, nn.Flatten())
    victim = PyTorchClassifier(flat, loss, shape, nb_classes=labels.shape[1], clip_values=(0, 1))
    attack = ProjectedGradientDescent(victim, eps=8 / 255, eps_step=2 / 255, max_iter=10, verbose=False)
    attacked = torch.from_numpy(attack.generate(scene.images.numpy(), labels))
    return {"dice": dice_of(model, attacked, scene.masks)}


def heart_figures(model: nn.Module, scene: Scene) -> Figures:
    """Attack with PGD of ART, through HEART's wrappers of model and attack."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from heart_library.attacks.attack import JaticAttack
    from heart_library.estimators.classification.pytorch import JaticPyTorchClassifier

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)

    shape, labels = tuple(scene.images.shape[1:]), list(scene.masks.flatten(1).numpy())
    flat, pixels = nn.Sequential(model, nn.Flatten()), len(labels[0])
    victim = JaticPyTorchClassifier(model=flat, loss=loss, input_shape=shape, nb_classes=pixels, clip_values=(0, 1))
    attack = ProjectedGradientDescentPyTorch(victim, eps=8 / 255, eps_step=2 / 255, max_iter=10, verbose=False)
    attacked, _, _ = JaticAttack(attack)((list(scene.images.numpy()), labels, [{}] * len(labels)))
    return {"dice": dice_of(model, torch.from_numpy(np.stack(attacked)), scene.masks)}


def maite_figures(model: nn.Module, scene: Scene) -> Figures:
    """Run a loop over data, a model and a metric that are all the user's own."""
    from maite.tasks import evaluate

    class Images:
        metadata: Mapping[str, str] = {"id": "images"}

        def __len__(self) -> int:
            return len(scene.images)

        def __getitem__(self, place: int) -> tuple[Any, Any, Mapping[str, int]]:
            return scene.images[place].numpy(), scene.masks[place].numpy(), {"id": place}

    class Network:
        metadata: Mapping[str, str] = {"id": "network"}

        def __call__(self, images: Arrays) -> Arrays:
            return list(model(torch.from_numpy(np.stack(images))).numpy())

    class Overlap:
        metadata: Mapping[str, str] = {"id": "dice"}

        def reset(self) -> None:
            self.found: list[float] = []

        def update(self, logits: Arrays, masks: Arrays, about: object) -> None:
            pairs = (torch.from_numpy(np.stack(each)) for each in (logits, masks))
            predicted, reference = next(pairs) > 0, next(pairs)
            self.found += dice(predicted, reference).tolist()

        def compute(self) -> Figures:
            return {"dice": float(np.mean(self.found))}

    figures: Figures = evaluate(model=Network(), dataset=Images(), metric=Overlap(), batch_size=8)[0]
    return figures


def nrtk_figures(model: nn.Module, scene: Scene) -> Figures:
    """Darken the images: what the model makes of them is for the user to measure."""
    from nrtk.impls.perturb_image.photometric.enhance import BrightnessPerturber

    darken = BrightnessPerturber(factor=0.7)
    levels = (255 * scene.images[:, 0].numpy()).round().astype(np.uint8)
    darkened = np.stack([darken(image=image)[0] for image in levels])
    return {"dice": dice_of(model, torch.from_numpy(darkened)[:, None] / 255, scene.masks)}


def monai_figures(model: nn.Module, scene: Scene) -> Figures:
    """Compare masks, and calibration image by image."""
    from monai.metrics import CalibrationErrorMetric, DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric

    probability = torch.sigmoid(model(scene.images))
    metrics = {
        "dice": DiceMetric(),
        "hausdorff_95": HausdorffDistanceMetric(include_background=True, percentile=95),
        "surface_dice": SurfaceDiceMetric(class_thresholds=[2.0], include_background=True),
    }
    predicted = (probability > 0.5).float()
    found = {name: float(metric(predicted, scene.masks).nanmean()) for name, metric in metrics.items()}
    return found | {"ece": float(CalibrationErrorMetric(num_bins=15)(probability, scene.masks).mean())}


def torch_uncertainty_figures(model: nn.Module, scene: Scene) -> Figures:
    """Score probabilities: all pixels are taken as one set of cases."""
    from torch_uncertainty.metrics import AURC, CalibrationError

    probability, labels = torch.sigmoid(model(scene.images)).flatten(), scene.masks.flatten().long()
    calibration, ranking = CalibrationError(task="binary", num_bins=15), AURC()
    ranking.update(probability, labels)
    return {"ece": float(calibration(probability, labels)), "aurc": float(ranking.compute())}


def trustseg_figures(model: nn.Module, scene: Scene) -> Figures:
    """Audit the model against the requirements that are shipped."""
    from trustseg.audit import ModelOptions, audit

    options = ModelOptions(size=64, conventions={"output": "logit", "scale": 1, "mean": 0})
    found = audit(
        model, scene.folder, split="test", options=options, budget="2min", folder=scene.folder.parent / "audit"
    )
    return {f"{each.text}:": each.interval.value for each in found.verdicts}


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, and what it tells of a segmentation model."""

    package: str  # as it is installed
    ask: Callable[[nn.Module, Scene], Figures]
    tells: str
    leaves: str  # to the user


PEERS: Mapping[str, Peer] = {
    "ART": Peer(
        "adversarial-robustness-toolbox",
        art_figures,
        "images under its attacks, if each pixel is passed off as a class of the image: it has no segmentation",
        "Dice of the result, attacks on uncertainty, checks for gradient masking",
    ),
    "HEART": Peer(
        "heart-library",
        heart_figures,
        "the same images, as it wraps ART; its own metrics are of classification and detection",
        "as with ART; its package asks for NumPy 1, without need here",
    ),
    "MAITE": Peer(
        "maite",
        maite_figures,
        "nothing by itself: it loops over your data, model and metric; its segmentation protocol is internal",
        "the metric, and all that is asked of it",
    ),
    "nrtk": Peer(
        "nrtk",
        nrtk_figures,
        "images under perturbations of sensors, weather and light",
        "which severity means what, and every measurement",
    ),
    "MONAI metrics": Peer(
        "monai",
        monai_figures,
        "Dice, HD95, surface Dice, calibration error of each image",
        "intervals over patients, failures, attacks, shifts",
    ),
    "torch-uncertainty": Peer(
        "torch-uncertainty",
        torch_uncertainty_figures,
        "calibration error and AURC of all pixels as one set",
        "images and patients: which case fails, and does its score tell",
    ),
    "trustseg": Peer(
        "trustseg",
        trustseg_figures,
        "all of these questions with intervals, a verdict on each requirement, and which cases go to a human",
        "models of sensors and weather, attacks of ART beyond those of the [toolbox](toolbox.md)",
    ),
}


def dice_of(model: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Return the mean Dice of what a network of logits finds, without images where that and the mask are empty."""
    return float(dice(model(images) > 0, masks).nanmean())


def lines_of(function: Callable[..., object]) -> int:
    """Return the number of lines in the body of a function, without its docstring and empty ones."""
    source, text = inspect.getsource(function), inspect.getdoc(function)
    return sum(bool(line.strip()) for line in source.splitlines()) - len((text or "").splitlines()) - 1


def fitted(images: Tensor, masks: Tensor, *, steps: int = 160) -> nn.Module:
    """Return a small U-Net with one logit per pixel, fitted to images and masks."""
    torch.manual_seed(0)
    network = smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1)
    optimizer, soft_dice = torch.optim.Adam(network.parameters(), lr=2e-3), smp.losses.DiceLoss("binary")
    for step in range(steps):
        batch = torch.arange(16 * step, 16 * step + 16) % len(images)
        logits = network(images[batch])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, masks[batch]) + soft_dice(logits, masks[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module: nn.Module = network.eval().requires_grad_(False)
    return module


def written_scene(folder: Path) -> tuple[nn.Module, Scene]:
    """Write generated chest X-rays; return a network that is fitted to one side of them, and the other side."""
    pack = open_dataset(write_phantoms(folder, train=160, test=48, control=16, size=64), size=64)
    images, masks = torch.from_numpy(np.array(pack.images)) / 255, torch.from_numpy(np.array(pack.masks)).float()
    train, test = ((pack.index["split"] == side).to_numpy() for side in ("train", "test"))
    return fitted(images[train], masks[train]), Scene(folder, images[test], masks[test])


def row_of(name: str, peer: Peer, printed: str) -> str:
    """Return the row of a library in the table."""
    return f"| {name} | {peer.tells} | {peer.leaves} | {lines_of(peer.ask)} | {printed} |"


def main() -> None:
    """Print the table: what each library says of the model, and in how many lines."""
    with tempfile.TemporaryDirectory() as folder:
        model, scene = written_scene(Path(folder) / "films")
        print(f"Dice of {len(scene.images)} unchanged images: {dice_of(model, scene.images, scene.masks):.3f}\n")
        print("| library | tells | leaves to you | lines | printed |\n| --- | --- | --- | --- | --- |")
        for name, peer in PEERS.items():
            try:
                found = f"{peer.package} {version(peer.package)}: " + ", ".join(
                    f"{key} {value:.3f}" for key, value in peer.ask(model, scene).items()
                )
            except (ImportError, PackageNotFoundError) as error:
                found = f"not installed ({error.name})"
            print(row_of(name, peer, found), flush=True)


if __name__ == "__main__":
    main()
