"""Finding the conventions of a network by trying the usual ones on images with masks."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from trustseg.errors import ConfigError, ModelError, QuestionError, first_problem, unknown_name
from trustseg.masks import filled
from trustseg.metrics import dice
from trustseg.models.foreign.conventions import Conventions, OutputForm, log_odds_of, prepared, restored
from trustseg.models.foreign.network import ForeignNetwork, first_line

__all__ = ["MARGIN", "Findings", "find_conventions"]

MARGIN: Final = 0.02
"""Conventions whose mean Dice lies within this of the best are close: where they also differ, the user is asked."""

_ALIKE: Final = 1e-3  # mean difference of probabilities below which two conventions are the same
_BATCH: Final = 8
_IMAGENET: Final = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE: Final = (123.68, 116.779, 103.939)  # ImageNet's means in RGB, of networks without a deviation
_INPUTS: Final[tuple[Mapping[str, Any], ...]] = (
    {},
    {"mean": _IMAGENET[0], "deviation": _IMAGENET[1]},
    {"mean": (0.5,), "deviation": (0.5,)},
    {"scale": 255},
    {"scale": 255, "mean": _CAFFE},
    {"per_image": True},
)
"""Ways in which networks are fed, the commonest first."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The conventions that were tried, with the mean Dice that each reaches.

    Attributes:
        tried: conventions and Dice, best first.
        rivals: those that are close to the best and give other beliefs.
        trivial: Dice of marking every pixel.
        notes: sentences on what was left out.
        name: of the network.
        size: side of the images in pixels.
    """

    tried: tuple[tuple[Conventions, float], ...]
    rivals: tuple[tuple[Conventions, float], ...]
    trivial: float
    notes: tuple[str, ...]
    name: str
    size: int

    @property
    def finds(self) -> bool:
        """Return whether the best conventions find the foreground; if they are the only ones, that is not asked."""
        return len(self.tried) == 1 or self.tried[0][1] > self.trivial + MARGIN

    @property
    def chosen(self) -> Conventions:
        """Return the best conventions.

        Raises:
            QuestionError: if others are close to them and differ, or none finds the foreground.
        """
        best, reached = self.tried[0]
        if not self.finds:
            raise QuestionError(
                f"'{self.name}': of {len(self.tried)} conventions none finds the foreground in images of {self.size} "
                f"pixels (Dice at most {reached:.3f}, marking everything gives {self.trivial:.3f}); give the size that "
                "it was trained at with --size, or say what its input and output are, for example "
                "--convention output=logit --convention scale=1"
            )
        if self.rivals:
            rival, second = self.rivals[0]
            raise QuestionError(
                f"'{self.name}': two conventions fit about equally at {self.size} pixels (Dice {reached:.3f} and "
                f"{second:.3f}, less than {MARGIN} apart); decide with --convention "
                f"{' and --convention '.join(best.differing(rival))}"
            )
        return best

    def describe(self, most: int = 10) -> list[str]:
        """Return a sentence for each of the best conventions: what it is and which Dice it reaches."""
        return [f"Dice {reached:.3f}: {' '.join(each.describe())}" for each, reached in self.tried[:most]]


@dataclass(slots=True)
class _Search:
    """The best so far, with the probabilities of those that are close to it."""

    found: list[tuple[Conventions, float]]
    close: dict[Conventions, tuple[float, Tensor]]
    best: float = -1.0

    def note(self, conventions: Conventions, probability: Tensor, masks: Tensor) -> None:
        reached = _mean_dice(probability > 0.5, masks)
        self.found.append((conventions, reached))
        self.best = max(self.best, reached)
        self.close[conventions] = reached, probability
        self.close = {each: kept for each, kept in self.close.items() if kept[0] >= self.best - MARGIN}


def find_conventions(
    network: ForeignNetwork, images: Tensor, masks: Tensor | None, *, fixed: Mapping[str, object]
) -> Findings:
    """Return which conventions reach which Dice on some images.

    Args:
        network: a foreign network.
        images: (B, C, H, W) in [0, 1], C = 1 or 3; a dozen are enough.
        masks: (B, 1, H, W) in {0, 1}, NaN where ignored; None if there are none.
        fixed: fields of ``Conventions`` that are known.

    Raises:
        UnknownNameError: if ``fixed`` names no field.
        QuestionError: if there is no foreground to search with, and ``fixed`` leaves something open.
        ModelError: if the network fails on the images, or returns NaN whatever it gets.
    """
    stated = _checked({**network.facts.given, **fixed})
    notes: list[str] = []
    sized = _sizes(network, images, stated)
    inputs = _inputs(network, images, stated, sized, notes)
    searchable = masks is not None and bool((masks > 0).any())
    if not searchable and not ({"output", "scale"} <= stated.keys() or (len(inputs) == 1 and "output" in stated)):
        raise QuestionError(
            f"'{network.facts.name}': there is no mask with foreground to find its conventions with; say what its "
            "output and input are, for example --convention output=logit --convention scale=1"
        )
    if masks is None or not searchable:
        return Findings(((inputs[0], float("nan")),), (), 0.0, (), network.facts.name, images.shape[-1])
    search = _Search([], {})
    failures, raw_output = 0, ""
    for base in inputs:
        model_input, raw = _outputs(network, images, base)
        if raw.isnan().any():
            failures += 1
            continue
        if not search.found:
            network.check_parity(model_input)
            if (smaller := model_input.shape[-1] // raw.shape[-1]) > 1:
                notes.append(f"The output is {smaller} times smaller than the input; it is taken to show all of it.")
            raw_output = f"{raw.shape[1]} channel(s) with values from {float(raw.min()):.3g} to {float(raw.max()):.3g}"
        for candidate in _candidates(raw, base, stated):
            odds = restored(log_odds_of(raw, candidate), (images.shape[-2], images.shape[-1]), candidate)
            search.note(candidate, torch.sigmoid(odds), masks)
    if failures == len(inputs):
        raise ModelError(f"'{network.facts.name}' returns NaN for every range of input that was tried")
    if not search.found:
        claim = ", ".join(f"{name}={stated[name]}" for name in ("output", "class_index") if name in stated)
        problem = f"does not fit {claim}; correct --convention" if claim else "marks nothing; check its weights"
        raise ModelError(f"'{network.facts.name}' returns {raw_output}, which {problem}")
    if failures:
        notes.append(f"{failures} ranges of input give NaN.")
    order = sorted(search.found, key=lambda each: -each[1])  # stable: the commonest first
    _, best = search.close[order[0][0]]
    rivals = [
        (each, reached)
        for each, reached in order[1:]
        if each in search.close and float((search.close[each][1] - best).abs().mean()) > _ALIKE
    ]
    everything = _mean_dice(torch.ones_like(best, dtype=torch.bool), masks)
    return Findings(tuple(order), tuple(rivals), everything, tuple(notes), network.facts.name, images.shape[-1])


def _checked(fixed: Mapping[str, object]) -> dict[str, Any]:
    names = {field.name for field in fields(Conventions)}
    for name in fixed:
        if name not in names:
            raise unknown_name("convention", name, names)
    one = ("mean", "deviation")  # may be given as a single number
    given = {
        name: [value] if name in one and isinstance(value, int | float) else value for name, value in fixed.items()
    }
    try:
        checked = TypeAdapter(Conventions).validate_python({**asdict(Conventions()), **given})
    except ValidationError as error:
        name, problem = first_problem(error)
        raise ConfigError(f"{name or 'conventions'} of a model: {problem}") from error
    return {name: getattr(checked, name) for name in given}


def _sizes(network: ForeignNetwork, images: Tensor, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sizes and fits to try: those that the network needs for these images."""
    network.facts.require_size(known.get("size"))
    height, width = images.shape[-2:]
    tried: list[dict[str, Any]] = [{}, {"fit": "pad"}]
    if "size" in known or "fit" in known:
        tried = [{"size": known.get("size", network.facts.size), "fit": known.get("fit", "resize")}]
    elif (size := network.facts.size) is not None:
        if (height, width) == (size, size):
            return [{"size": size}]
        other = "crop" if min(height, width) >= size else "pad" if max(height, width) <= size else None
        return [{"size": size, "fit": fit} for fit in ("resize", other) if fit is not None]
    failures: list[Exception] = []
    for each in tried:
        try:
            _outputs(network, images[:1], Conventions(**each))
        except Exception as error:  # somebody's network may fail in any way
            failures.append(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        else:
            return [each]
    why = f"on images of {width}x{height} pixels ({first_line(failures[0])})"
    raise ModelError(f"'{network.facts.name}' cannot be run {why}; set another size or fit")


def _inputs(
    network: ForeignNetwork, images: Tensor, known: Mapping[str, Any], sized: list[dict[str, Any]], notes: list[str]
) -> list[Conventions]:
    """Return the conventions of the input to try, the commonest first, each once."""
    grey = images.shape[1] == 1 or bool((images == images[:, :1]).all())
    orders: tuple[str, ...]
    if network.facts.channels == 1 or (grey and "order" not in known):
        orders = ("grey",)
        if network.facts.channels != 1:
            notes.append("The images are grey, so that the order of channels does not matter.")
    else:
        orders = ("rgb", "bgr")
    found: dict[Conventions, None] = {}
    ranges = _INPUTS if not known.keys() & {"mean", "deviation", "per_image"} else ({}, {"scale": 255})
    for way in ranges:
        if network.facts.channels == 1 and len(way.get("mean", ())) == 3:
            continue
        for size in sized:
            for order in orders:
                found[replace(Conventions(), **{**way, **size, "order": order, **known})] = None
    return list(found)


def _outputs(network: ForeignNetwork, images: Tensor, base: Conventions) -> tuple[Tensor, Tensor]:
    """Return the input of the first batch, and the raw output of all images."""
    with torch.no_grad():
        given = [prepared(batch, base, channels=network.facts.channels or 3) for batch in torch.split(images, _BATCH)]
        return given[0], torch.cat([network(inputs) for inputs in given])


def _candidates(raw: Tensor, base: Conventions, known: Mapping[str, Any]) -> Iterator[Conventions]:
    """Yield what a raw output can mean, the likeliest first."""
    for form, index in _forms(raw):
        if known.get("output", form) == form and known.get("class_index", index) == index:
            yield replace(base, output=form, class_index=index)
        elif known.get("output") == form and "class_index" not in known and index is None:
            yield replace(base, output=form)


def _forms(raw: Tensor) -> Iterator[tuple[OutputForm, int | None]]:
    count = raw.shape[1]
    whole = not raw.is_floating_point() or bool((raw == raw.round()).all())
    bounded = bool((raw >= 0).all()) and bool((raw <= 1).all())
    if count == 1:
        if whole and float(raw.min()) >= 0:
            yield from (("labels", int(label)) for label in torch.unique(raw)[:256].tolist() if label > 0)
            return
        yield "probability" if bounded else "logit", None  # a logit that is never below 0 would mark every pixel
        return
    last_first = range(count - 1, -1, -1) if count == 2 else range(count)
    if bounded and bool(((raw.sum(dim=1) - 1).abs() < 2e-3).all()):
        yield from (("softmax", index) for index in last_first)
        return
    for index in last_first:
        yield "two_channel_logits" if count == 2 else "classes", index
    yield from (("probability" if bounded else "logit", index) for index in last_first)


def _mean_dice(prediction: Tensor, masks: Tensor) -> float:
    """Return the mean Dice over images that have foreground."""
    positive = (filled(masks) > 0).flatten(1).any(dim=1)
    return float(dice(prediction[positive], masks[positive]).mean())
