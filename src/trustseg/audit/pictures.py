"""Pictures of cases: the image with the borders of its reference and of its prediction."""

import io
import textwrap
from typing import Final

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from trustseg.audit.breaking import Break
from trustseg.audit.measuring import batch_of
from trustseg.audit.plan import Plan
from trustseg.audit.subject import Subject
from trustseg.evaluation.conditions import Condition, Deployed, perturb
from trustseg.evaluation.frames import areas_in, frame_columns
from trustseg.evaluation.predictions import fitted_map
from trustseg.masks import filled
from trustseg.metrics import dice
from trustseg.randomness import derived_generator
from trustseg.reporting.gallery import PREDICTED_COLOUR, REFERENCE_COLOUR, draw_contour

__all__ = ["picture_of_break", "picture_of_case"]

_LETTERS: Final = 30  # of a title in a line above a picture


def picture_of_case(subject: Subject, name: str) -> bytes:
    """Return a case as PNG: the image alone, and with reference and prediction."""
    images, masks = batch_of(subject.pack, _row(subject, name))
    return _draw_cases(("", images, masks, _probability(subject, images, name)))


def picture_of_break(subject: Subject, found: Break, plan: Plan, deployed: Deployed | None) -> bytes:
    """Return the case that a change harms most as PNG, before and after; the change is made again for this image."""
    rows = _row(subject, found.image)
    images, masks = batch_of(subject.pack, rows)
    before = _probability(subject, images, found.image)
    if bool(masks.isnan().all()):  # without a reference: the clean prediction
        masks = (before > 0.5).float()
    condition = _condition(found, plan)
    model = subject.model
    if model is None:
        raise ValueError("predictions cannot be changed")
    areas = areas_in(frame_columns(subject.pack, rows))
    generator = derived_generator(0, "audit", condition.slug)
    changed = perturb(model, images, masks, condition, generator=generator, deployed=deployed, areas=areas)
    after = _probability(subject, changed.images, found.image)
    return _draw_cases(("unchanged", images, masks, before), (found.words, changed.images, changed.masks, after))


def _condition(found: Break, plan: Plan) -> Condition:
    name, eps = found.condition
    if found.kind == "shift":
        return Condition(name, shift=found.family, severity=round(5 * found.level))
    attack = next(each for each in plan.attack_configs if each.label == name)
    return Condition(name, eps, attack)


def _row(subject: Subject, name: str) -> NDArray[np.int64]:
    return (subject.pack.index["name"] == name).arg_true().to_numpy().astype(np.int64)


def _probability(subject: Subject, images: Tensor, name: str) -> Tensor:
    if subject.model is not None:
        with torch.no_grad():
            return subject.model.belief(images).probability
    predictions = subject.predictions or {}
    return torch.from_numpy(fitted_map(predictions[name], subject.pack, int(_row(subject, name)[0])))[None, None]


def _draw_cases(*panels: tuple[str, Tensor, Tensor, Tensor]) -> bytes:
    """Return cases side by side as PNG: each a title, the image, its reference and its predicted probability."""
    titles = []
    for title, _, masks, probability in panels:
        value = float(dice(probability > 0.5, masks))
        shown = "Dice undefined" if np.isnan(value) else f"Dice {value:.2f}"
        titles.append("\n".join([*textwrap.wrap(title, _LETTERS), shown]))
    height, width = panels[0][2].shape[-2:]
    with mpl.rc_context({"font.size": 9, "text.parse_math": False}):
        lines = max(title.count("\n") + 1 for title in titles)
        figure = Figure(figsize=(2.1 * len(panels), 2.1 * height / width + 0.1 + 0.15 * lines), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, title, (_, images, masks, probability) in zip(axes, titles, panels, strict=True):
            axis.imshow(images[0].movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            draw_contour(axis, filled(masks)[0, 0].float().numpy(), REFERENCE_COLOUR)
            draw_contour(axis, probability[0, 0].numpy(), PREDICTED_COLOUR)
            axis.set_axis_off()
            axis.set_title(title, fontsize=9, pad=4)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=160)
    return stream.getvalue()
