"""Input and output conventions of networks of unknown origin."""

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from trustseg.errors import ConfigError, ModelError, ShapeError, unknown_name

__all__ = ["Conventions", "Fit", "Order", "OutputForm", "log_odds_of", "prepared", "restored"]

OutputForm = Literal["logit", "probability", "two_channel_logits", "softmax", "classes", "labels"]
Order = Literal["rgb", "bgr", "grey"]
Fit = Literal["resize", "crop", "pad"]

STRIDE: Final = 32  # most networks halve their input five times
_LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to grey
_SURE: Final = 20.0  # log-odds of a pixel of which only a label is known: probability 2e-9 or 1 - 2e-9
_FORMS: Final = {
    "logit": "one logit per pixel",
    "probability": "one probability per pixel",
    "two_channel_logits": "logits of background and foreground",
    "softmax": "probabilities of several classes that add up to 1",
    "classes": "logits of several classes",
    "labels": "one class label per pixel",
}


@dataclass(frozen=True, slots=True)
class Conventions:
    """How images in [0, 1] become the input of a network, and its output log-odds of the foreground.

    Attributes:
        output: what the output is: ``logit`` or ``probability`` (each channel by itself), ``two_channel_logits`` and
            ``classes`` (logits of two or more classes that exclude each other), ``softmax`` (their probabilities) or
            ``labels`` (the number of the class).
        class_index: channel, or label, of the foreground; None where there is one channel.
        threshold: probability above which the model's users call a pixel foreground; log-odds are shifted so that
            it lies at 1/2.
        scale: input value of white: 1 or 255.
        mean: subtracted from the scaled input, one value for all channels or one for each.
        deviation: by which it is then divided.
        per_image: whether the mean and deviation of each image itself are used instead (z-scores).
        order: ``rgb``, ``bgr`` or ``grey`` (one channel, or the same grey in all three).
        size: side of the square that the network gets; None: the size of the image.
        fit: how an image becomes such a square: ``resize``, ``crop`` (its centre; what lies outside is background) or
            ``pad`` (at the bottom and right; to multiples of 32 where ``size`` is None).
    """

    output: OutputForm = "logit"
    class_index: int | None = None
    threshold: float = 0.5
    scale: Literal[1, 255] = 1
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    per_image: bool = False
    order: Order = "rgb"
    size: int | None = None
    fit: Fit = "resize"

    def __post_init__(self) -> None:
        for name, choices in (("output", OutputForm), ("order", Order), ("fit", Fit)):
            if getattr(self, name) not in get_args(choices):
                raise unknown_name(f"{name} of a model", str(getattr(self, name)), get_args(choices))
        if self.scale not in (1, 255):
            raise ConfigError(f"scale is {self.scale}: white is 1 or 255")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}: a probability between 0 and 1, usually 0.5")
        if len(self.mean) not in (1, 3) or len(self.deviation) not in (1, 3) or not all(self.deviation):
            raise ConfigError(f"mean {self.mean} and deviation {self.deviation}: give 1 or 3 values, deviations not 0")
        if not all(math.isfinite(value) for value in (*self.mean, *self.deviation)):
            raise ConfigError(f"mean {self.mean} and deviation {self.deviation}: give finite numbers")
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size is {self.size}: the side of a square in pixels, at least 1")

    def describe(self) -> list[str]:
        """Return what is assumed, a sentence each for the output, the input and its size."""
        which = "" if self.class_index is None else f", foreground is number {self.class_index}"
        decided = "" if self.threshold == 0.5 else f", foreground above a probability of {self.threshold:g}"
        if self.per_image:
            values = "each image with its own mean subtracted, divided by its own deviation"
        else:
            values = f"values from 0 to {self.scale}"
            if any(self.mean) or any(value != 1 for value in self.deviation):
                values += f", mean {_listed(self.mean)} subtracted, divided by {_listed(self.deviation)}"
        side = f"{self.size} x {self.size} pixels" if self.size else "multiples of 32 pixels"
        fitted = {"resize": "resized to", "crop": "its centre cropped to", "pad": "padded to"}[self.fit]
        sentences = [f"Output: {_FORMS[self.output]}{which}{decided}.", f"Input: {self.order}, {values}."]
        if self.size is not None or self.fit == "pad":
            sentences.append(f"Size: each image {fitted} {side}.")
        return sentences

    def differing(self, other: "Conventions") -> list[str]:
        """Return the fields in which another differs, written as ``name=value or name=value``."""
        return [
            f"{field.name}={_shown(getattr(self, field.name))} or {field.name}={_shown(getattr(other, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _shown(value: object) -> str:
    return f"[{_listed(value)}]" if isinstance(value, tuple) else str(value)


def prepared(images: Tensor, conventions: Conventions, *, channels: int) -> Tensor:
    """Return what the network gets for ``images`` (B, C, H, W) in [0, 1]; gradients flow."""
    inputs = _in_channels(images, conventions.order, channels)
    inputs = _fitted(inputs, conventions)
    if conventions.per_image:
        deviation, mean = torch.std_mean(inputs, dim=(1, 2, 3), keepdim=True, correction=0)
        return (inputs - mean) / deviation.clamp_min(1e-8)
    if channels == 1 and len(conventions.mean) + len(conventions.deviation) > 2:
        raise ConfigError(f"mean {conventions.mean} and deviation {conventions.deviation}: the model takes one channel")
    mean, deviation = (
        inputs.new_tensor(values).view(1, -1, 1, 1) for values in (conventions.mean, conventions.deviation)
    )
    return (inputs * conventions.scale - mean) / deviation


def _in_channels(images: Tensor, order: Order, channels: int) -> Tensor:
    found = images.shape[1]
    if images.ndim != 4 or found not in (1, 3):
        raise ShapeError(f"images must be (B, 1 or 3, H, W), got {tuple(images.shape)}")
    if found == 3 and (channels == 1 or order == "grey"):
        images = (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    elif found == 3 and order == "bgr":
        images = images.flip(1)
    return images.expand(-1, channels, -1, -1) if images.shape[1] == 1 else images


def _fitted(images: Tensor, conventions: Conventions) -> Tensor:
    height, width = images.shape[-2:]
    size = conventions.size
    if size is None:
        bottom, right = (-height % STRIDE, -width % STRIDE) if conventions.fit == "pad" else (0, 0)
        return pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images
    if (height, width) == (size, size):
        return images
    if conventions.fit == "resize":
        return interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    if conventions.fit == "crop":
        if min(height, width) < size:
            raise ShapeError(f"images of {width}x{height} pixels cannot be cropped to {size}; set fit=resize or pad")
        top, left = (height - size) // 2, (width - size) // 2
        return images[..., top : top + size, left : left + size]
    if max(height, width) > size:
        raise ShapeError(f"images of {width}x{height} pixels cannot be padded to {size}; set fit=resize or crop")
    return pad(images, (0, size - width, 0, size - height), mode="replicate")


def restored(log_odds: Tensor, shape: tuple[int, int], conventions: Conventions) -> Tensor:
    """Return log-odds (B, 1, H, W) of the images' own pixels, for those (B, 1, h, w) of the network's output.

    An output that is a whole number of times smaller than the input, as SegFormer's, is enlarged bilinearly; any other
    size is a ModelError.
    """
    height, width = shape
    size = conventions.size
    side = (size, size) if size is not None else shape
    if size is None and conventions.fit == "pad":
        side = (height + -height % STRIDE, width + -width % STRIDE)
    rows, columns = log_odds.shape[-2:]
    if (rows, columns) != side:
        if side[0] % rows or side[1] % columns or side[0] // rows != side[1] // columns:
            raise ModelError(
                f"the model returns maps of {columns}x{rows} pixels for images of {side[1]}x{side[0]}, which may show "
                "its centre or all of it; wrap the model so that it pads its input or resizes its output"
            )
        log_odds = interpolate(log_odds, size=side, mode="bilinear")
    if side == shape:
        return log_odds
    if size is None or conventions.fit == "pad":
        return log_odds[..., :height, :width]
    if conventions.fit == "resize":
        return interpolate(log_odds, size=shape, mode="bilinear")
    top, left = (height - size) // 2, (width - size) // 2
    return pad(log_odds, (left, width - size - left, top, height - size - top), value=-_SURE)


def log_odds_of(output: Tensor, conventions: Conventions, *, logits: bool = False) -> Tensor:
    """Return the log-odds (B, 1, h, w) of the foreground that a raw output (B, K, h, w) stands for.

    With ``logits`` the output is what the network's last activation got, so that a ``probability`` is a logit here and
    ``softmax`` stands for the logits of classes. A ModelError if there is no such channel, or no probability.
    """
    form, index = conventions.output, conventions.class_index
    count = output.shape[1]
    if form == "two_channel_logits" and count != 2:
        raise ModelError(f"output=two_channel_logits needs 2 channels, the model returns {count}; set another output")
    if form == "labels":
        label = 1 if index is None else index
        found = torch.where(output[:, :1] == label, _SURE, -_SURE).float()
        return found - math.log(conventions.threshold / (1 - conventions.threshold))
    if index is None:
        if count > 2 or (count == 2 and form not in ("two_channel_logits", "softmax")):
            raise ModelError(f"the model returns {count} channels; name the foreground with --convention class_index=1")
        index = count - 1
    if not 0 <= index < count:
        raise ModelError(f"class_index is {index}, but the model returns channels 0 to {count - 1}")
    if output.dtype not in (torch.float32, torch.float64):
        output = output.float()
    found = _of_form(output, form, index, logits=logits)
    return found - math.log(conventions.threshold / (1 - conventions.threshold))


def _of_form(output: Tensor, form: OutputForm, index: int, *, logits: bool) -> Tensor:
    chosen = output[:, index : index + 1]
    if form == "logit" or (form == "probability" and logits):
        return chosen
    if form == "probability":
        return _odds(chosen, 1 - chosen, low=torch.finfo(chosen.dtype).eps / 4)
    if output.shape[1] == 1:
        raise ModelError(
            f"output={form} needs several channels, the model returns one; set output=logit or probability"
        )
    others = torch.cat([output[:, :index], output[:, index + 1 :]], dim=1)
    if form == "softmax" and not logits:
        return _odds(chosen, others.sum(dim=1, keepdim=True))
    return chosen - others.logsumexp(dim=1, keepdim=True)


class _Clamped(torch.autograd.Function):
    """A clamp from below whose gradient is one everywhere (straight-through)."""

    @staticmethod
    def forward(ctx: object, values: Tensor, low: float) -> Tensor:
        return values.clamp_min(low)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _odds(foreground: Tensor, background: Tensor, *, low: float | None = None) -> Tensor:
    """Return ln(foreground / background), both clamped from below, with a gradient there too.

    ``low`` is the least that ``background`` can be beside 0 where it is a difference from 1.
    """
    tiny = torch.finfo(foreground.dtype).tiny
    top: Tensor = _Clamped.apply(foreground, tiny)
    bottom: Tensor = _Clamped.apply(background, tiny if low is None else low)
    return top.log() - bottom.log()
