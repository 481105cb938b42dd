"""What other libraries tell of one segmentation model, each in as few lines as it takes; docs/audit.md has the table.

Run: python examples/peers.py, where monai, torch-uncertainty, adversarial-robustness-toolbox and nrtk[headless] are
installed; what is not is passed over by name. The model, a blurred threshold, and the images are generated.
"""

import inspect
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trustseg.metrics import dice

Figures = Mapping[str, float]


def art_figures(model: nn.Module, images: Tensor, masks: Tensor) -> Figures:
    """Attack with PGD: to ART, each pixel is a class of one image, as it knows no segmentation."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    def loss(logits: Tensor, labels: Tensor) -> Tensor:  # of a BCEWithLogitsLoss it would take the largest label alone
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)

    shape, pixels = tuple(images.shape[1:]), masks[0].numel()
    flat = nn.Sequential(model, nn.Flatten())
    victim = PyTorchClassifier(flat, loss, shape, nb_classes=pixels, clip_values=(0, 1))
    attack = ProjectedGradientDescent(victim, eps=8 / 255, eps_step=2 / 255, max_iter=10, verbose=False)
    attacked = torch.from_numpy(attack.generate(images.numpy(), masks.flatten(1).numpy()))
    return {"dice": float(dice(model(attacked) > 0, masks).mean())}


def monai_figures(model: nn.Module, images: Tensor, masks: Tensor) -> Figures:
    """Compare masks, and calibration image by image."""
    from monai.metrics import CalibrationErrorMetric, DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric

    probability = torch.sigmoid(model(images))
    metrics = {
        "dice": DiceMetric(),
        "hausdorff_95": HausdorffDistanceMetric(include_background=True, percentile=95),
        "surface_dice": SurfaceDiceMetric(class_thresholds=[2.0], include_background=True),
    }
    found = {name: float(metric((probability > 0.5).float(), masks).mean()) for name, metric in metrics.items()}
    return found | {"ece": float(CalibrationErrorMetric(num_bins=15)(probability, masks).mean())}


def torch_uncertainty_figures(model: nn.Module, images: Tensor, masks: Tensor) -> Figures:
    """Score probabilities: all pixels are taken as one set of cases."""
    from torch_uncertainty.metrics import AURC, CalibrationError

    probability, labels = torch.sigmoid(model(images)).flatten(), masks.flatten().long()
    calibration, ranking = CalibrationError(task="binary", num_bins=15), AURC()
    ranking.update(probability, labels)
    return {"ece": float(calibration(probability, labels)), "aurc": float(ranking.compute())}


def nrtk_figures(model: nn.Module, images: Tensor, masks: Tensor) -> Figures:
    """Darken the images: what the model makes of them is for the user to measure."""
    from nrtk.impls.perturb_image.photometric.enhance import BrightnessPerturber

    darken = BrightnessPerturber(factor=0.7)
    levels = (255 * images[:, 0].numpy()).round().astype(np.uint8)
    darkened = np.stack([darken(image=image)[0] for image in levels])
    return {"dice": float(dice(model(torch.from_numpy(darkened)[:, None] / 255) > 0, masks).mean())}


PEERS: Mapping[str, Callable[[nn.Module, Tensor, Tensor], Figures]] = {
    "ART": art_figures,
    "MONAI metrics": monai_figures,
    "torch-uncertainty": torch_uncertainty_figures,
    "nrtk": nrtk_figures,
}


def lines_of(function: Callable[..., object]) -> int:
    """Return the number of lines in the body of a function, without its docstring and empty ones."""
    source, text = inspect.getsource(function), inspect.getdoc(function)
    return sum(bool(line.strip()) for line in source.splitlines()) - len((text or "").splitlines()) - 1


class Blurred(nn.Module):
    """Marks what is bright after a blur of 3 x 3 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per pixel of grey images (B, 1, H, W)."""
        return 10 * (nn.functional.avg_pool2d(images, 3, 1, 1) - 0.5)


def scene(count: int = 8, size: int = 32) -> tuple[Tensor, Tensor]:
    """Return images of bright discs in noise, in steps of 1/255, and masks of the discs."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centres = torch.randint(10, size - 10, (count, 2, 1, 1), generator=generator)
    radii = torch.randint(4, 8, (count, 1, 1), generator=generator)
    masks = (((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2) <= radii**2).float()[:, None]
    noise = 0.1 * torch.randn(masks.shape, generator=generator)
    return (255 * (0.4 + 0.25 * masks + noise).clamp(0, 1)).round() / 255, masks


def main() -> None:
    """Print what each library says of the model, and in how many lines."""
    model = Blurred()
    images, masks = scene()
    for name, ask in PEERS.items():
        try:
            found = ask(model, images, masks)
        except ImportError as error:
            print(f"{name}: not installed ({error.name})")
            continue
        print(f"{name}, {lines_of(ask)} lines:", ", ".join(f"{key} {value:.4f}" for key, value in found.items()))


if __name__ == "__main__":
    main()
