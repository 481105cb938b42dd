"""Grey levels of DICOM films: displayed as the standard says, anything else refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.data.dicom_films import CR, DX, FILM, Array, film, save

from trustseg.data.decode import read_image
from trustseg.data.depth import read_depth
from trustseg.data.intensity import decide_scale, render, scan_image
from trustseg.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset
else:
    pydicom = pytest.importorskip("pydicom")


@pytest.mark.parametrize("bits", [8, 10, 12, 15])
@pytest.mark.parametrize("kind", [CR, DX])
def test_without_a_window_the_stored_bits_are_the_range(tmp_path: Path, bits: int, kind: str) -> None:
    picture = read_image(save(film(bits, kind=kind), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(picture.pixels, FILM >> (16 - bits))
    assert picture.white == 2**bits - 1
    assert decide_scale([scan_image(picture, tmp_path / "a.dcm")]).white is None


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_white_of_16_bit_films_is_decided_for_the_data_set(tmp_path: Path, photometric: str) -> None:
    for number, bits in enumerate((12, 16, 16)):
        stored = FILM >> 4
        if number == 2:
            stored[:12, :12] = 65535  # a marker
        film(bits, PhotometricInterpretation=photometric, PixelData=stored.tobytes()).save_as(
            tmp_path / f"{number}.dcm"
        )
    pictures = [read_image(tmp_path / f"{number}.dcm") for number in range(3)]
    scale = decide_scale([scan_image(picture, tmp_path) for picture in pictures])
    assert scale.white == 4095
    assert not any("several depths" in note for note in scale.notes)
    films = [render(picture, scale, channels=1) for picture in pictures]
    np.testing.assert_array_equal(films[0], films[1])
    np.testing.assert_array_equal(films[0][12:], films[2][12:])
    assert (films[2][:12, :12] == (255 if photometric == "MONOCHROME2" else 0)).all()
    whole = read_image(save(film(16), tmp_path / "whole.dcm"))
    scale = decide_scale([scan_image(picture, tmp_path) for picture in (*pictures, whole)])
    assert scale.white == 65535
    assert any("4095, 65535" in note for note in scale.notes)
    assert any("fewer bits" in note for note in scale.notes)


HIGH = ((FILM >> 4).astype(np.int32) - 2048).astype(np.int16)


@pytest.mark.parametrize(
    ("stored", "elements", "signed"),
    [
        (FILM & 0xFFF0, {"HighBit": 15}, False),
        (FILM >> 2 & 0x3FFC, {"HighBit": 13}, False),
        ((FILM >> 4) | 0x8000, {"OverlayBitPosition": 15}, False),
        (HIGH, {}, True),  # the sign fills the bits above,
        (HIGH & 0xFFF, {}, True),  # or these are empty
        (HIGH << 4, {"HighBit": 15}, True),
    ],
)
def test_bits_are_taken_from_where_they_are(
    tmp_path: Path, stored: Array, elements: dict[str, Any], signed: bool
) -> None:
    dataset = film(12, signed=signed, PixelData=stored.tobytes())
    if place := elements.pop("OverlayBitPosition", None):
        dataset.add_new(0x60000102, "US", place)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    picture = read_image(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(picture.pixels, FILM >> 4)
    assert picture.white == 4095


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("shift", "high"), [(3, 11), (4, 15), (0, 10), (0, 16)])
def test_bits_beside_those_stored_are_refused(tmp_path: Path, shift: int, high: int, signed: bool) -> None:
    with pytest.raises(DataError, match=r"a\.dcm.*HighBit"):
        read_image(save(film(12, signed=signed, HighBit=high, PixelData=(FILM >> shift).tobytes()), tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    ("elements", "signed", "inverted"),
    [
        ({"RescaleSlope": -1, "RescaleIntercept": 4095}, False, True),
        ({"RescaleSlope": -1, "RescaleIntercept": 4095, "PhotometricInterpretation": "MONOCHROME1"}, False, False),
        ({"PhotometricInterpretation": "MONOCHROME1"}, True, True),
        ({}, True, False),
    ],
)
def test_white_of_16_bits_is_decided_whatever_their_sign_and_slope(
    tmp_path: Path, elements: dict[str, Any], signed: bool, inverted: bool
) -> None:
    file = save(film(16, signed=signed, PixelData=(FILM >> 4).tobytes(), **elements), tmp_path / "a.dcm")
    picture = read_image(file)
    assert (picture.white, picture.inverted) == (None, inverted)
    scale = decide_scale([scan_image(picture, file)])
    levels = (FILM >> 4) * (255 / 4095)
    np.testing.assert_array_equal(render(picture, scale, channels=1), np.rint(255 - levels if inverted else levels))
    deep = read_depth(file, white=4095)
    assert deep is not None
    shown = (deep.slope * deep.stored + deep.intercept - deep.black) / (deep.white - deep.black)
    np.testing.assert_allclose(255 * (1 - shown if deep.inverted else shown), 255 - levels if inverted else levels)


def look_up(entries: int, bits: int) -> "Dataset":
    """Return a falling table of 256 entries below ``entries``."""
    from pydicom import Dataset

    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [256, 0, bits], "US"
    item.add_new("LUTData", "OW", np.linspace(entries - 1, 0, 256).astype(np.uint16).tobytes())
    return item


@pytest.mark.parametrize(
    ("bits", "elements", "word"),
    [
        (12, {"WindowCenter": 20000, "WindowWidth": 400}, "single grey level"),
        (8, {"VOILUTSequence": [look_up(256, 16)]}, "16 bits whose entries reach 255"),
        (12, {"ModalityLUTSequence": [look_up(4096, 12)]}, "Modality LUT of 12 bits"),
        (12, {"RescaleSlope": 0, "RescaleIntercept": 5}, "RescaleSlope"),
        (12, {"RescaleIntercept": -1024}, "RescaleIntercept"),
        (8, {"Rows": 32}, "holds 2 frames"),
    ],
)
def test_what_would_show_little_or_another_picture_is_refused(
    tmp_path: Path, bits: int, elements: dict[str, Any], word: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.dcm.*{word}"):
        read_image(save(film(bits, **elements), tmp_path / "a.dcm"))


def test_negative_values_of_16_bits_need_a_window(tmp_path: Path) -> None:
    dataset = film(16, signed=True, PixelData=HIGH.tobytes())
    with pytest.raises(DataError, match=r"a\.dcm.*negative.*window"):
        read_image(save(dataset, tmp_path / "a.dcm"))
    dataset.WindowCenter, dataset.WindowWidth = 0, 4096
    shown = read_image(save(dataset, tmp_path / "b.dcm"))
    assert np.abs(shown.pixels / 65535 - (FILM >> 4) / 4095).max() < 1e-4


@pytest.mark.parametrize(
    "keyword", ["BitsAllocated", "BitsStored", "Columns", "PixelRepresentation", "SamplesPerPixel"]
)
def test_a_missing_element_is_named(tmp_path: Path, keyword: str) -> None:
    dataset = film(12)
    delattr(dataset, keyword)
    with pytest.raises(DataError, match=rf"a\.dcm.*{keyword}"):
        read_image(save(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        ({"PixelPaddingValue": int(FILM[0, 0] >> 8)}, "PixelPaddingValue"),
        ({"ShutterShape": "RECTANGULAR"}, "shutter"),
        ({"PresentationLUTShape": "INVERSE"}, "PresentationLUTShape"),
        ({"PresentationLUTShape": "IDENTITY", "PhotometricInterpretation": "MONOCHROME1"}, "PresentationLUTShape"),
        ({"VOILUTSequence": [look_up(256, 8), look_up(256, 8)]}, "first of several"),
        ({"WindowCenter": 128, "WindowWidth": 2}, "90% of the pixels"),
    ],
)
def test_what_viewers_may_show_in_another_way_is_noted(tmp_path: Path, elements: dict[str, Any], word: str) -> None:
    assert any(word in note for note in read_image(save(film(8, **elements), tmp_path / "a.dcm")).notes)
    plain = film(8, PresentationLUTShape="IDENTITY", WindowCenter=128, WindowWidth=256)
    assert read_image(save(plain, tmp_path / "b.dcm")).notes == ("DICOM window applied",)


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 100, "WindowWidth": 91}])
def test_monochrome1_is_the_inverse_of_monochrome2(tmp_path: Path, bits: int, window: dict[str, Any]) -> None:
    plain = read_image(save(film(bits, **window), tmp_path / "a.dcm"))
    turned = read_image(save(film(bits, PhotometricInterpretation="MONOCHROME1", **window), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(turned.pixels, 2**bits - 1 - plain.pixels)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [None, (2.0, -1000.0), (-1.0, 4095.0)])
def test_windows_are_applied_as_pydicom_does(tmp_path: Path, function: str | None, rescale: Any) -> None:  # noqa: ANN401
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    dataset = film(12, WindowCenter=[1500, 1], WindowWidth=[901, 2])
    if function:
        dataset.VOILUTFunction = function
    ends = np.array([0, 4095])
    if rescale:
        dataset.RescaleSlope, dataset.RescaleIntercept = rescale
        ends = ends * rescale[0] + rescale[1]
    shown = apply_windowing(apply_modality_lut(FILM >> 4, dataset), dataset)
    picture = read_image(save(dataset, tmp_path / "a.dcm"))
    expected = (shown.clip(ends.min(), ends.max()) - ends[0]) / (ends[1] - ends[0]) * 4095
    assert np.abs(picture.pixels - expected).max() <= 1
    assert picture.notes == ("first of several DICOM windows applied",)


def test_signed_values_and_rescaling_without_a_window(tmp_path: Path) -> None:
    signed = read_image(save(film(12, signed=True), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(signed.pixels, FILM >> 4)
    steeper = read_image(save(film(12, RescaleSlope=0.5, RescaleIntercept=7), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(steeper.pixels, FILM >> 4)
    falling = read_image(save(film(12, RescaleSlope=-1, RescaleIntercept=0), tmp_path / "c.dcm"))
    np.testing.assert_array_equal(falling.pixels, 4095 - (FILM >> 4))


@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables_are_looked_up(tmp_path: Path, kind: str) -> None:
    from pydicom import Dataset

    table = (65535 - 257 * np.arange(256)).astype(np.uint16)  # 8 bits in, 16 bits out, falling
    item = Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.add_new("LUTData", "OW", table.tobytes())
    if kind == "ModalityLUTSequence":
        item.ModalityLUTType = "US"
    options: dict[str, Any] = {kind: [item]}
    picture = read_image(save(film(8, **options), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(picture.pixels, 255 - (FILM >> 8))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables_of_16_bits_may_use_12(tmp_path: Path, kind: str, photometric: str) -> None:
    options: dict[str, Any] = {kind: [look_up(4096, 16)], "PhotometricInterpretation": photometric}
    file = save(film(8, **options), tmp_path / "a.dcm")
    picture = read_image(file)
    assert picture.white is None  # the data set decides
    scale = decide_scale([scan_image(picture, file)])
    expected = (FILM >> 8) if photometric == "MONOCHROME1" else 255 - (FILM >> 8)
    assert np.abs(render(picture, scale, channels=1).astype(int) - expected).max() <= 1
    assert read_depth(file, white=scale.white) is not None or kind == "ModalityLUTSequence"


def test_pixel_spacing_is_kept(tmp_path: Path) -> None:
    assert read_image(save(film(PixelSpacing=[0.2, 0.1], ImagerPixelSpacing=[9, 9]), tmp_path / "a")).spacing == (
        0.2,
        0.1,
    )
    assert read_image(save(film(ImagerPixelSpacing=[0.3, 0.3]), tmp_path / "b")).spacing == (0.3, 0.3)
    assert read_image(save(film(PixelSpacing=[0, 0]), tmp_path / "c")).spacing is None
    assert read_image(save(film(), tmp_path / "d")).spacing is None
