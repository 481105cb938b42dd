"""What mask values mean is decided from all files; without one meaning, the file and its values are named."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from trustseg.data.decode import read_mask
from trustseg.data.mask_encoding import apply_encoding, decide_encoding, scan_mask
from trustseg.data.mask_values import MaskEncoding
from trustseg.data.picture import Picture
from trustseg.errors import ConfigError, DataError

Array = npt.NDArray[Any]
RED, GREEN = (255, 0, 0), (0, 255, 0)
TOLD = {"lesion": [1, 2], "ignore": 255}


def disc(radius: int = 8, *, side: int = 64) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[:side, :side] - side // 2
    return np.asarray(rows**2 + columns**2 <= radius**2)


RIMMED = np.where(disc(8), 1, np.where(disc(10), 255, 0))  # lesion within an ignored rim


def drawn(**values: int) -> Picture:
    """A disc of ``lesion`` within ``rim`` on ``ground``; a value that is not given is 0, and rim is lesion."""
    lesion, ground = values.get("lesion", 0), values.get("ground", 0)
    pixels = np.where(disc(8), lesion, np.where(disc(10), values.get("rim", lesion), ground))
    return Picture(pixels.astype(np.uint8), "", "PNG")


def coloured(first: tuple[int, int, int], second: tuple[int, int, int] = (0, 0, 0)) -> Picture:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[disc(10)] = second
    pixels[disc(8)] = first
    return Picture(pixels, "", "PNG")


def smooth(radius: int = 8) -> Picture:
    """A disc drawn at four times the size and reduced, as viewers do."""
    large = Image.fromarray(255 * disc(4 * radius, side=256).astype(np.uint8))
    return Picture(np.asarray(large.resize((64, 64), Image.Resampling.BOX)), "", "PNG")


def spots(values: Sequence[int], *, radius: int = 3) -> Picture:
    """A disc of each value on black, as one label for each object."""
    rows = -(-len(values) // 16)
    pixels = np.zeros((16 * rows, 256), dtype=np.uint8)
    for number, value in enumerate(values):
        top, left = 16 * (number // 16), 16 * (number % 16)
        pixels[top : top + 16, left : left + 16][disc(radius, side=16)] = value
    return Picture(pixels, "", "PNG")


def see_through(opacity: Array, colour: int = 255) -> Picture:
    """A constant colour, with the opacity of each pixel in [0, 1]."""
    alpha = None if opacity.all() else np.rint(255 * opacity).astype(np.uint8)
    return Picture(np.full(opacity.shape, colour, dtype=np.uint8), "", "PNG", alpha=alpha, has_alpha=True)


def jpeg(path: Path, pixels: Array, quality: int = 75) -> Picture:
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=quality)
    return read_mask(path)


def decided(masks: Mapping[str, Picture], **options: Any) -> MaskEncoding:  # noqa: ANN401
    return decide_encoding([scan_mask(mask, Path(name)) for name, mask in masks.items()], **options)


def assert_read(masks: Mapping[str, Picture], coding: MaskEncoding, expected: Mapping[str, Array]) -> None:
    for name, mask in masks.items():
        np.testing.assert_array_equal(apply_encoding(mask, coding, Path(name)), expected[name])


EMPTY, PLAIN, FULL = drawn(), drawn(lesion=255), drawn(lesion=255, ground=255)
NONE = np.zeros((64, 64), dtype=bool)
OPAQUE = {"a.png": see_through(disc()), "b.png": see_through(disc(6))}


@pytest.mark.parametrize("white", [1, 255])
def test_two_values_are_background_and_lesion(white: int) -> None:
    masks = {"a": drawn(lesion=white), "b": EMPTY, "c": drawn(lesion=white, ground=white)}
    coding = decided(masks)
    assert coding.by == "values"
    assert_read(masks, coding, {name: mask.pixels // white for name, mask in masks.items()})
    assert_read({"a": EMPTY}, decided({"a": EMPTY, "b": EMPTY}), {"a": NONE})


@pytest.mark.parametrize(
    "odd",
    [
        drawn(lesion=1),  # dust, or another coding
        drawn(lesion=1, rim=255),  # a void border, as in Pascal VOC
        *(drawn(lesion=value) for value in (127, 128, 254)),
        drawn(lesion=1, rim=2),
        drawn(lesion=128, rim=255),
        drawn(lesion=128, ground=128),
    ],
)
def test_a_file_that_contradicts_the_others_is_named_with_its_values(odd: Picture) -> None:
    with pytest.raises(DataError, match=r"odd\.png: values .* \(\d") as caught:
        decided({"a.png": PLAIN, "odd.png": odd, "b.png": EMPTY, "c.png": FULL})
    for value in np.unique(odd.pixels):
        assert f"{value} ({(odd.pixels == value).sum():,} px)" in str(caught.value)
    with pytest.raises(DataError, match=r"b\.png|odd\.png"):
        decided({"odd.png": odd, "b.png": drawn(lesion=255)})


RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
BLURRED = np.asarray(Image.fromarray(PLAIN.pixels).filter(ImageFilter.GaussianBlur(6)))
MANY = (range(25, 256, 23), range(1, 201), range(10, 241, 10), [*range(40, 200, 10), *[255] * 60])
SMOOTH = {f"{number}.png": smooth() for number in range(60)}
CODES = [
    *(drawn(lesion=1, rim=2), drawn(lesion=1, rim=255), drawn(lesion=7), drawn(lesion=38)),
    *(spots(values, radius=radius) for values in MANY for radius in (0, 1, 3)),  # labels of objects
]
HALF = Picture(PLAIN.pixels | 255, "", "PNG", alpha=np.where(disc(), 100, 0).astype(np.uint8), has_alpha=True)


@pytest.mark.parametrize(
    ("masks", "told", "named"),
    [
        # The minority is named.
        ({**{f"{number}.png": drawn(lesion=1) for number in range(5)}, "odd.png": PLAIN}, None, r"odd\.png"),
        *(({"a.png": codes, "b.png": codes}, None, r"a\.png") for codes in CODES),
        *(({"a.png": spots(values), **SMOOTH}, None, r"a\.png") for values in MANY),
        *(({"a.png": PLAIN, "odd.png": Picture(grey, "", "PNG")}, None, r"odd\.png") for grey in (RAMP, BLURRED)),
        # Thresholding would empty the masks of 0 and 1.
        ({"a.png": smooth(), "b.png": drawn(lesion=1), "c.png": drawn(lesion=1)}, None, r"\.png"),
        # Colours.
        ({"a.png": EMPTY, "b.png": coloured(RED), "c.png": coloured(RED, GREEN)}, None, r"b\.png .*#ff0000 \(197 px\)"),
        ({"a.png": coloured(GREEN)}, None, r"mask_values=\{lesion: '#00ff00'\}"),
        ({"a.png": coloured(RED), "c.png": coloured(RED, GREEN)}, {"lesion": "#ff0000"}, r"c\.png.*#00ff00"),
        # What was told does not fit.
        ({"a.png": drawn(lesion=1, rim=255), "odd.png": drawn(lesion=9)}, TOLD, r"odd\.png"),
        ({"a.png": PLAIN}, {"lesion": 65535}, "65535 only are read as 0 and 255"),
        ({"a.png": PLAIN}, {"lesion": 1, "ignore": 255}, "none of the values"),
        # Transparency: half, in some files only, opaque (all lesion, or empty?), of another colour, or without a mask.
        ({"a.png": see_through(disc()), "half.png": HALF}, None, r"half\.png"),
        ({"a.png": see_through(disc()), "b.png": PLAIN}, None, r"b\.png"),
        *(({**OPAQUE, "odd.png": see_through(~NONE, colour)}, None, r"odd\.png.*transparency") for colour in (0, 255)),
        ({**OPAQUE, "odd.png": see_through(disc(), 90)}, None, r"odd\.png.*another colour .* \(255\)"),
        ({"a.png": see_through(NONE)}, None, r"a\.png"),
        ({"a.png": see_through(disc())}, {"lesion": 255}, r"a\.png"),
    ],
)
def test_masks_without_one_meaning_are_refused(masks: dict[str, Picture], told: Any, named: str) -> None:  # noqa: ANN401
    with pytest.raises(DataError, match=named):
        decided(masks, mask_values=told)


def test_told_values_are_obeyed_and_strays_refused() -> None:
    masks = {"a.png": drawn(lesion=1, rim=255), "b.png": EMPTY}
    coding = decided(masks, mask_values=TOLD)
    assert_read(masks, coding, {"a.png": RIMMED, "b.png": NONE})
    with pytest.raises(DataError, match=r"new\.png: .*7 \("):
        apply_encoding(drawn(lesion=7), coding, Path("new.png"))
    masks = {"b.png": coloured(RED), "c.png": coloured(RED, GREEN)}
    coding = decided(masks, mask_values={"lesion": ["#FF0000"], "ignore": "#00ff00"})
    assert_read(masks, coding, {"b.png": disc(), "c.png": RIMMED})
    grey = Picture(np.arange(256, dtype=np.uint8).reshape(16, 16), "", "PNG")
    coding = decided({"a": grey}, mask_values={"lesion": "100-255", "background": "0-99"})
    assert_read({"a": grey}, coding, {"a": grey.pixels >= 100})
    assert_read({"a": PLAIN}, decided({"a": PLAIN}, mask_values={"lesion": 0, "background": 255}), {"a": ~disc(10)})


@pytest.mark.parametrize(
    "values",
    [
        *({}, {"lesion": []}, {"lesion": None}, {"lesions": 1}, {1: 2}, {"lesion": True}, {"lesion": 1.5}),
        *({"lesion": "#ff"}, {"lesion": "9-3"}, {"lesion": -1}, {"lesion": 70000}, {"lesion": "one"}),
        *({"lesion": [1, 2], "ignore": 2}, {"lesion": "1-9", "background": [0, 5]}, {"lesion": {"a": 1}}),
    ],
)
def test_settings_without_a_meaning(values: dict[Any, Any]) -> None:
    with pytest.raises(ConfigError, match=r"data\.mask_values"):
        decided({"a": PLAIN}, mask_values=values)


LARGE = Image.fromarray(255 * disc(70, side=256).astype(np.uint8))
RESIZED = [
    Picture(np.asarray(LARGE.resize((side, side), kind)), "", "PNG")
    for side in (100, 150, 400, 512)
    for kind in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
]


@pytest.mark.parametrize(
    ("masks", "noted"),
    [
        ({"a.png": smooth(), "b.png": EMPTY, "c.png": PLAIN, "d.png": smooth(5)}, "2 masks"),
        *(({"a.png": mask, "b.png": EMPTY}, "1 mask") for mask in RESIZED),
    ],
)
def test_anti_aliased_borders_are_cut_at_the_middle_and_noted(masks: dict[str, Picture], noted: str) -> None:
    coding = decided(masks)
    assert coding.by == "threshold"
    assert len(coding.notes) == 1
    assert noted in coding.notes[0]
    assert_read(masks, coding, {name: mask.pixels > 127 for name, mask in masks.items()})


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_masks_are_cut_at_the_middle_and_noted(tmp_path: Path, quality: int) -> None:
    smeared = jpeg(tmp_path / "a.jpg", PLAIN.pixels, quality)
    empty = jpeg(tmp_path / "b.jpg", EMPTY.pixels, quality)
    assert len(np.unique(smeared.pixels)) > 2
    masks = {"a.jpg": smeared, "b.jpg": empty, "c.png": PLAIN}
    coding = decided(masks)
    assert "2 masks" in coding.notes[0]
    assert_read(masks, coding, {"a.jpg": disc(10), "b.jpg": NONE, "c.png": disc(10)})
    assert decided({"b.jpg": empty}).by == "threshold"
    with pytest.raises(DataError, match=r"d\.png"):
        decided({"a.jpg": smeared, "d.png": drawn(lesion=1)})


BLOCK = np.pad(np.ones((14, 14), dtype=int), ((48, 2), (2, 48)))
LABELS = [np.where(BLOCK, label, PLAIN.pixels) for label in (30, 50, 100, 200, 225)]


@pytest.mark.parametrize(
    ("pixels", "quality", "among"),
    [
        *((disc() * value, 75, True) for value in (38, 76, 127)),  # would turn empty
        *((disc() * value, 95, False) for value in (1, 20)),  # none is bright
        (np.random.default_rng(0).integers(0, 256, (64, 64)), 75, False),
        *((pixels, quality, False) for pixels in LABELS for quality in (30, 95)),
        (coloured(GREEN).pixels, 75, False),
    ],
)
def test_jpeg_masks_that_are_not_dark_or_bright_are_refused(
    tmp_path: Path, pixels: Array, quality: int, among: bool
) -> None:
    masks = {"b.jpg": jpeg(tmp_path / "b.jpg", PLAIN.pixels)} if among else {}
    with pytest.raises(DataError, match=r"a\.jpg.*export them as PNG"):
        decided({**masks, "a.jpg": jpeg(tmp_path / "a.jpg", pixels, quality)})


@pytest.mark.parametrize("colour", [0, 90, 255])
def test_transparency_is_the_mask_where_the_colour_is_constant(colour: int) -> None:
    areas = {"a": disc(), "b": NONE, "c": ~disc(), "d": smooth().pixels / 255}
    masks = {name: see_through(area, colour) for name, area in areas.items()}
    masks["e"], areas["e"] = see_through(NONE, 7), NONE  # a colour that nobody sees
    coding = decided(masks)
    assert len(coding.notes) == 1
    assert_read(masks, coding, {name: area > 0.5 for name, area in areas.items()})
