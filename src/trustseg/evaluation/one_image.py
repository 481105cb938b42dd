"""The prediction of one image file at the image's own size: mask, uncertainty map and score."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trustseg.beliefs import check_belief
from trustseg.data.decode import read_image
from trustseg.data.intensity import IntensityScale, render
from trustseg.data.picture import Picture
from trustseg.data.resizing import Fit, image_area, resize_image
from trustseg.deferral import AreaInterval, CertifiedPolicy, FalseNegativeControl, Policy
from trustseg.evaluation.beliefs import uncertainty_of
from trustseg.evaluation.frames import image_scores, to_native
from trustseg.evaluation.noisy import Draw, draw_of, noisy
from trustseg.models import BeliefModel
from trustseg.uncertainty import MEASURES

__all__ = ["ImagePrediction", "ImageSettings", "predict_image", "prediction_of"]


class ImageSettings(NamedTuple):
    """How every image is read and predicted; see ``trustseg.evaluation.predict.predict``."""

    measure: str
    aggregation: str
    policy: Policy | CertifiedPolicy | None
    control: FalseNegativeControl | None
    area: AreaInterval | None
    draws: Mapping[str, Draw] | None
    scale: IntensityScale
    fit: Fit
    device: str


class ImagePrediction(NamedTuple):
    """The result for one image.

    Attributes:
        mask: (H, W) bool.
        uncertainty: (H, W), in the units of the measure.
        shown: (H, W) in [0, 1], the uncertainty as it is drawn.
        row: of the table.
        picture: what the file holds.
    """

    mask: Tensor
    uncertainty: Tensor
    shown: Tensor
    score: float
    row: dict[str, str]
    picture: Picture


def predict_image(model: BeliefModel, file: Path, name: str, settings: ImageSettings) -> ImagePrediction:
    """Return what a model in evaluation mode, on ``settings.device``, says of an image file, called ``name``."""
    measure, aggregation, policy, control, interval, draws, scale, fit, device = settings
    spec = model.spec
    picture = read_image(file)
    pixels = resize_image(render(picture, scale, channels=spec.channels, path=file), spec.size, fit)
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    images = torch.from_numpy(np.array(planes, order="C"))[None].to(device).float() / 255
    promise: dict[str, str] = {}
    if isinstance(policy, CertifiedPolicy):
        draw = draw_of(name, images, draws)
        images = noisy(images, noise=policy.noise, seed=draw.seed)
        promise = {
            "noise": f"{policy.noise:g}",
            "noise_seed": str(draw.seed),
            "pixels": draw.pixels,
            "certified_at_most": f"{policy.at_most:g}",
            "certified_radius": f"{policy.radius:g}",
        }
    with torch.no_grad():
        belief = model.belief(images)
    check_belief(belief)
    uncertainty = uncertainty_of(belief, measure, head=spec.head)
    width, height = picture.size
    area, native = image_area(width, height, size=spec.size, fit=fit), (height, width)
    score = float(image_scores(aggregation, uncertainty, belief.probability, [area]))
    probability = to_native(belief.probability, native, area)
    drawn = uncertainty.exp() if measure == "differential_entropy" else uncertainty
    maps = to_native(uncertainty, native, area), to_native(drawn, native, area)
    if isinstance(policy, CertifiedPolicy):
        mask = _nearest(belief.log_odds[(..., *area.slices)] > 0, native)
    elif control is not None:
        controlled = torch.from_numpy(control.mask(belief.probability.cpu().numpy()))
        mask = _nearest(controlled[(..., *area.slices)], native)
    else:
        mask = probability > 0.5
    if interval is not None:
        own = belief.probability[(..., *area.slices)]
        ends = zip(("fraction_low", "fraction_high"), interval.limits(own.cpu().numpy()), strict=True)
        promise |= {end: f"{pixels / own.numel():.6f}" for end, pixels in ends}
    return prediction_of(name, picture, mask, probability, maps, score, settings, promise)


def prediction_of(
    name: str,
    picture: Picture,
    mask: Tensor,
    probability: Tensor,
    uncertainty: tuple[Tensor, Tensor],
    score: float,
    settings: ImageSettings,
    promise: Mapping[str, str],
) -> ImagePrediction:
    """Return the result for an image whose maps (H, W) and score are known.

    Args:
        name: of the image in the table.
        picture: what the file holds.
        mask: bool.
        probability: of foreground.
        uncertainty: in the units of the measure, and as it is drawn.
        promise: further columns of the table.
    """
    measure, policy = settings.measure, settings.policy
    row = {
        "image": name,
        "uncertainty": f"{score:.6g}",
        **({} if policy is None else {"review": "yes" if policy.review(score) else "no"}),
        **promise,
        "measure": measure,
        "aggregation": settings.aggregation,
        "predicted_fraction": f"{float(mask.float().mean()):.6f}",
        "largest_probability": f"{float(probability.max()):.6f}",
        "width": str(picture.size[0]),
        "height": str(picture.size[1]),
    }
    shown = (uncertainty[1] / (MEASURES[measure].facts.upper_bound or 1.0)).clamp(0, 1)
    return ImagePrediction(mask, uncertainty[0], shown, score, row, picture)


def _nearest(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the mask at another size (H, W); each pixel is what lies under its centre."""
    return interpolate(masks.float(), size=size, mode="nearest-exact")[0, 0].cpu() > 0.5
