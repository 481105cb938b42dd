"""What mask values mean is decided from all files; without one meaning, the file and its values are named."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from trustseg.data.decode import read_mask
from trustseg.data.mask_codes import MaskCoding
from trustseg.data.mask_coding import apply_coding, counts_of, decide_coding, scan_mask
from trustseg.data.picture import Picture
from trustseg.errors import ConfigError, DataError

Array = npt.NDArray[Any]
RED, GREEN = (255, 0, 0), (0, 255, 0)


def disc(radius: int = 8, *, side: int = 64) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[:side, :side] - side // 2
    return np.asarray(rows**2 + columns**2 <= radius**2)


def drawn(**values: int) -> Picture:
    """A disc of ``lesion`` within ``rim`` on ``ground``; a value that is not given is 0, and rim is lesion."""
    lesion, ground = values.get("lesion", 0), values.get("ground", 0)
    pixels = np.where(disc(8), lesion, np.where(disc(10), values.get("rim", lesion), ground))
    return Picture(pixels.astype(np.uint8), "", "PNG")


def decided(masks: Mapping[str, Picture], **options: Any) -> MaskCoding:  # noqa: ANN401
    return decide_coding([scan_mask(mask, Path(name)) for name, mask in masks.items()], **options)


EMPTY, PLAIN, FULL = drawn(), drawn(lesion=255), drawn(lesion=255, ground=255)


@pytest.mark.parametrize("white", [1, 255])
def test_two_values_are_background_and_lesion(white: int) -> None:
    masks = {"a": drawn(lesion=white), "b": EMPTY, "c": drawn(lesion=white, ground=white)}
    coding = decided(masks)
    assert coding.by == "values"
    for mask in masks.values():
        np.testing.assert_array_equal(apply_coding(mask, coding, Path("m")), mask.pixels // white)
        assert counts_of(scan_mask(mask, Path("m")), coding) == ((mask.pixels == white).sum(), 0)


def test_a_data_set_of_empty_masks_is_empty() -> None:
    assert not apply_coding(EMPTY, decided({"a": EMPTY, "b": EMPTY}), Path("a")).any()


@pytest.mark.parametrize(
    "odd",
    [
        drawn(lesion=1),  # dust, or another coding
        drawn(lesion=1, rim=255),  # a void border, as in Pascal VOC
        drawn(lesion=128),
        drawn(lesion=127),
        drawn(lesion=254),
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


def test_the_minority_is_named() -> None:
    masks = {f"{number}.png": drawn(lesion=1) for number in range(5)}
    with pytest.raises(DataError, match=r"odd\.png"):
        decided({**masks, "odd.png": PLAIN})


@pytest.mark.parametrize("values", [{"lesion": 1, "rim": 255}, {"lesion": 1, "rim": 2}, {"lesion": 7}, {"lesion": 38}])
def test_codes_in_every_file_are_refused_too(values: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"a\.png"):
        decided({"a.png": drawn(**values), "b.png": drawn(**values)})


def colours(first: tuple[int, int, int], second: tuple[int, int, int] = (0, 0, 0)) -> Picture:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[disc(10)] = second
    pixels[disc(8)] = first
    return Picture(pixels, "", "PNG")


def test_colours_need_a_meaning() -> None:
    masks = {"a.png": EMPTY, "b.png": colours(RED), "c.png": colours(RED, GREEN)}
    with pytest.raises(DataError, match=r"b\.png .*#ff0000 \(197 px\)"):
        decided(masks)
    with pytest.raises(DataError, match=r"c\.png.*#00ff00"):
        decided(masks, mask_values={"lesion": "#ff0000"})
    coding = decided(masks, mask_values={"lesion": ["#FF0000"], "ignore": "#00ff00"})
    found = apply_coding(masks["c.png"], coding, Path("c.png"))
    np.testing.assert_array_equal(found, np.where(disc(8), 1, np.where(disc(10), 255, 0)))
    assert counts_of(scan_mask(masks["c.png"], Path("c")), coding) == (197, disc(10).sum() - 197)


def test_the_advice_on_colours_names_one_of_the_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mask_values=\{lesion: '#00ff00'\}"):
        decided({"a.png": colours(GREEN)})
    green = np.zeros((64, 64, 3), dtype=np.uint8)
    green[disc()] = GREEN
    with pytest.raises(DataError, match="export them as PNG"):
        decided({"a.jpg": jpeg(tmp_path / "a.jpg", green)})


def test_told_values_are_obeyed_and_strays_refused() -> None:
    void = drawn(lesion=1, rim=255)
    coding = decided({"a.png": void, "b.png": EMPTY}, mask_values={"lesion": [1, 2], "ignore": 255})
    np.testing.assert_array_equal(
        apply_coding(void, coding, Path("a")), np.where(disc(8), 1, np.where(disc(10), 255, 0))
    )
    with pytest.raises(DataError, match=r"new\.png: .*7 \("):
        apply_coding(drawn(lesion=7), coding, Path("new.png"))
    with pytest.raises(DataError, match=r"odd\.png"):
        decided({"a.png": void, "odd.png": drawn(lesion=9)}, mask_values={"lesion": [1, 2], "ignore": 255})
    with pytest.raises(DataError, match=r"65535 only are read as 0 and 255"):
        decided({"a.png": PLAIN}, mask_values={"lesion": 65535})
    with pytest.raises(DataError, match=r"none of the values"):
        decided({"a.png": PLAIN}, mask_values={"lesion": 1, "ignore": 255})


def test_ranges_threshold_and_zero_may_be_lesion() -> None:
    grey = Picture(np.arange(256, dtype=np.uint8).reshape(16, 16), "", "PNG")
    coding = decided({"a": grey}, mask_values={"lesion": "100-255", "background": "0-99"})
    np.testing.assert_array_equal(apply_coding(grey, coding, Path("a")), grey.pixels >= 100)
    black = decided({"a": PLAIN}, mask_values={"lesion": 0, "background": 255})
    np.testing.assert_array_equal(apply_coding(PLAIN, black, Path("a")), ~disc(10))


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


def smooth(radius: int = 8) -> Picture:
    """A disc drawn at four times the size and reduced, as viewers do."""
    large = Image.fromarray(255 * disc(4 * radius, side=256).astype(np.uint8))
    return Picture(np.asarray(large.resize((64, 64), Image.Resampling.BOX)), "", "PNG")


def test_anti_aliased_borders_are_cut_at_the_middle_and_noted() -> None:
    masks = {"a.png": smooth(), "b.png": EMPTY, "c.png": PLAIN, "d.png": smooth(5)}
    coding = decided(masks)
    assert coding.by == "threshold"
    assert len(coding.notes) == 1
    assert "2 masks" in coding.notes[0]
    for mask in masks.values():
        np.testing.assert_array_equal(apply_coding(mask, coding, Path("m")), mask.pixels > 127)


def test_grey_that_is_no_border_is_refused() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    for number, odd in enumerate([ramp, np.asarray(Image.fromarray(PLAIN.pixels).filter(ImageFilter.GaussianBlur(6)))]):
        with pytest.raises(DataError, match=r"odd\.png"):
            decided({"a.png": PLAIN, "odd.png": Picture(odd, "", "PNG")}), number
    with pytest.raises(DataError, match=r"\.png"):  # thresholding would empty the masks of 0 and 1
        decided({"a.png": smooth(), "b.png": drawn(lesion=1), "c.png": drawn(lesion=1)})


def spots(values: Sequence[int], *, radius: int = 3) -> Picture:
    """A disc of each value on black, as one label for each object."""
    rows = -(-len(values) // 16)
    pixels = np.zeros((16 * rows, 256), dtype=np.uint8)
    for number, value in enumerate(values):
        top, left = 16 * (number // 16), 16 * (number % 16)
        pixels[top : top + 16, left : left + 16][disc(radius, side=16)] = value
    return Picture(pixels, "", "PNG")


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize(
    "values",
    [range(25, 256, 23), range(1, 201), range(10, 241, 10), [*range(40, 200, 10), *[255] * 60]],
)
def test_labels_of_objects_are_no_smooth_border(values: Sequence[int], radius: int) -> None:
    objects = spots(values, radius=radius)
    with pytest.raises(DataError, match=r"a\.png"):
        decided({"a.png": objects, "b.png": objects})
    if radius == 3:
        with pytest.raises(DataError, match=r"a\.png"):
            decided({"b.png": smooth(), "a.png": objects, **{f"{number}.png": smooth() for number in range(60)}})


@pytest.mark.parametrize("kind", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("side", [100, 150, 400, 512])
def test_resized_masks_are_cut_at_the_middle(side: int, kind: Image.Resampling) -> None:
    large = Image.fromarray(255 * disc(70, side=256).astype(np.uint8))
    mask = Picture(np.asarray(large.resize((side, side), kind)), "", "PNG")
    coding = decided({"a.png": mask, "b.png": EMPTY})
    np.testing.assert_array_equal(apply_coding(mask, coding, Path("a.png")), mask.pixels > 127)


def jpeg(path: Path, pixels: Array, quality: int = 75) -> Picture:
    Image.fromarray(pixels).save(path, quality=quality)
    return read_mask(path)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_masks_are_cut_at_the_middle_and_noted(tmp_path: Path, quality: int) -> None:
    smeared = jpeg(tmp_path / "a.jpg", PLAIN.pixels, quality)
    assert len(np.unique(smeared.pixels)) > 2
    coding = decided({"a.jpg": smeared, "b.jpg": jpeg(tmp_path / "b.jpg", EMPTY.pixels, quality), "c.png": PLAIN})
    assert "2 masks" in coding.notes[0]
    np.testing.assert_array_equal(apply_coding(smeared, coding, Path("a.jpg")), PLAIN.pixels > 127)


@pytest.mark.parametrize("lesion", [38, 76, 127])
def test_jpeg_masks_that_would_turn_empty_are_refused(tmp_path: Path, lesion: int) -> None:
    with pytest.raises(DataError, match=r"odd\.jpg"):
        decided(
            {
                "a.jpg": jpeg(tmp_path / "a.jpg", PLAIN.pixels),
                "odd.jpg": jpeg(tmp_path / "b.jpg", drawn(lesion=lesion).pixels),
            }
        )
    photo = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    with pytest.raises(DataError, match=r"a\.jpg"):
        decided({"a.jpg": jpeg(tmp_path / "a.jpg", photo)})


@pytest.mark.parametrize("label", [30, 50, 100, 200, 225])
@pytest.mark.parametrize("quality", [30, 95])
def test_labels_in_jpeg_masks_are_refused(tmp_path: Path, label: int, quality: int) -> None:
    pixels = PLAIN.pixels.copy()
    pixels[48:62, 2:16] = label
    with pytest.raises(DataError, match=r"a\.jpg"):
        decided({"a.jpg": jpeg(tmp_path / "a.jpg", pixels, quality)})


@pytest.mark.parametrize("lesion", [1, 20])
def test_jpeg_masks_none_of_which_is_bright_are_refused(tmp_path: Path, lesion: int) -> None:
    with pytest.raises(DataError, match=r"a\.jpg.*export them as PNG"):
        decided({"a.jpg": jpeg(tmp_path / "a.jpg", drawn(lesion=lesion).pixels, 95)})
    assert decided({"a.jpg": jpeg(tmp_path / "a.jpg", EMPTY.pixels)}).by == "threshold"


def test_jpeg_masks_beside_masks_of_0_and_1_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.png"):
        decided({"a.jpg": jpeg(tmp_path / "a.jpg", PLAIN.pixels), "b.png": drawn(lesion=1)})


def see_through(opacity: Array, colour: int = 255) -> Picture:
    alpha = None if opacity.all() else (255 * opacity).astype(np.uint8)
    return Picture(np.full(opacity.shape, colour, dtype=np.uint8), "", "PNG", alpha=alpha, has_alpha=True)


@pytest.mark.parametrize("colour", [0, 90, 255])
def test_transparency_is_the_mask_where_the_colour_is_constant(colour: int) -> None:
    areas = {"a": disc(), "b": np.zeros((64, 64), dtype=bool), "c": ~disc()}
    masks = {name: see_through(area, colour) for name, area in areas.items()}
    coding = decided(masks)
    assert len(coding.notes) == 1
    for name, area in areas.items():
        np.testing.assert_array_equal(apply_coding(masks[name], coding, Path(name)), area)
        assert counts_of(scan_mask(masks[name], Path(name)), coding) == (area.sum(), 0)


def test_half_transparent_lesions_are_refused_and_smooth_borders_are_not() -> None:
    half = Picture(PLAIN.pixels | 255, "", "PNG", alpha=np.where(disc(), 100, 0).astype(np.uint8), has_alpha=True)
    with pytest.raises(DataError, match=r"half\.png"):
        decided({"a.png": see_through(disc()), "half.png": half})
    border = Picture(PLAIN.pixels | 255, "", "PNG", alpha=smooth().pixels, has_alpha=True)
    coding = decided({"a.png": see_through(disc()), "b.png": border})
    np.testing.assert_array_equal(apply_coding(border, coding, Path("b.png")), smooth().pixels > 127)


@pytest.mark.parametrize("colour", [0, 255])
def test_an_opaque_mask_or_another_colour_among_masks_by_transparency_is_refused(colour: int) -> None:
    usual = {"a.png": see_through(disc()), "b.png": see_through(disc(6))}
    with pytest.raises(DataError, match=r"odd\.png.*transparency"):  # all lesion, or empty?
        decided({**usual, "odd.png": see_through(np.ones((64, 64), dtype=bool), colour)})
    with pytest.raises(DataError, match=r"odd\.png.*another colour than the other masks \(255\)"):
        decided({**usual, "odd.png": see_through(disc(), 90)})
    decided({**usual, "empty.png": see_through(np.zeros((64, 64), dtype=bool), 0)})  # a colour that nobody sees


def test_transparency_in_some_files_only_is_refused() -> None:
    with pytest.raises(DataError, match=r"b\.png"):
        decided({"a.png": see_through(disc()), "b.png": PLAIN})
    with pytest.raises(DataError, match=r"a\.png"):
        decided({"a.png": see_through(np.zeros((4, 4), dtype=bool))})  # nothing tells which is the mask
    with pytest.raises(DataError, match=r"a\.png"):
        decided({"a.png": see_through(disc())}, mask_values={"lesion": 255})
