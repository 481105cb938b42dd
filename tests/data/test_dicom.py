"""Grey levels of DICOM films: displayed as the standard says, anything else refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tests.data.dicom_films import CR, DX, FILM, Array, film, save

from trustseg.data.decode import read_depth, read_image
from trustseg.data.intensity import IntensityScale, decide_scale, render, scan_image
from trustseg.data.picture import DeepImage
from trustseg.errors import DataError

if TYPE_CHECKING:
    import pydicom
    from pydicom import Dataset
else:
    pydicom = pytest.importorskip("pydicom")

INVERSE: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1"}
FALLING = {"RescaleSlope": -1, "RescaleIntercept": 4095}
HIGH = ((FILM >> 4).astype(np.int32) - 2048).astype(np.int16)


def shown(deep: DeepImage) -> Array:
    """Return what a viewer shows through the window of a film, in [0, 255]."""
    fraction: Array = (deep.slope * deep.stored + deep.intercept - deep.black) / (deep.white - deep.black)
    return 255 * (1 - fraction.clip(0, 1) if deep.inverted else fraction.clip(0, 1))


def look_up(entries: int, bits: int) -> "Dataset":
    """Return a falling table of 256 entries below ``entries``."""
    from pydicom import Dataset

    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [256, 0, bits], "US"
    item.add_new("LUTData", "OW", np.linspace(entries - 1, 0, 256).astype(np.uint16).tobytes())
    return item


@pytest.mark.parametrize(
    ("bits", "elements", "expected"),
    [
        *((bits, {"kind": kind}, FILM >> (16 - bits)) for bits in (8, 10, 12, 15) for kind in (CR, DX)),
        (12, {"signed": True}, FILM >> 4),
        (12, {"RescaleSlope": 0.5, "RescaleIntercept": 7}, FILM >> 4),
        (12, {"RescaleSlope": -1, "RescaleIntercept": 0}, 4095 - (FILM >> 4)),
        (12, {"PixelData": (FILM & 0xFFF0).tobytes(), "HighBit": 15}, FILM >> 4),
        (12, {"PixelData": (FILM >> 2 & 0x3FFC).tobytes(), "HighBit": 13}, FILM >> 4),
        (12, {"PixelData": ((FILM >> 4) | 0x8000).tobytes(), "OverlayBitPosition": 15}, FILM >> 4),
        (12, {"PixelData": HIGH.tobytes(), "signed": True}, FILM >> 4),  # the sign fills the bits above,
        (12, {"PixelData": (HIGH & 0xFFF).tobytes(), "signed": True}, FILM >> 4),  # or these are empty
        (12, {"PixelData": (HIGH << 4).tobytes(), "HighBit": 15, "signed": True}, FILM >> 4),
        (8, {"VOILUTSequence": [look_up(65536, 16)]}, 255 - (FILM >> 8)),
        (8, {"ModalityLUTSequence": [look_up(65536, 16)]}, 255 - (FILM >> 8)),
    ],
)
def test_the_stored_bits_are_the_range(tmp_path: Path, bits: int, elements: dict[str, Any], expected: Array) -> None:
    options = {name: value for name, value in elements.items() if name != "OverlayBitPosition"}
    dataset = film(bits, **options)
    if place := elements.get("OverlayBitPosition"):
        dataset.add_new(0x60000102, "US", place)
    picture = read_image(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.white == 2**bits - 1
    assert decide_scale([scan_image(picture, tmp_path / "a.dcm")]).white is None


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_white_of_16_bit_films_is_decided_for_the_data_set(tmp_path: Path, photometric: str) -> None:
    pictures = []
    for number, bits in enumerate((12, 16, 16)):
        stored = FILM >> 4
        if number == 2:
            stored[:12, :12] = 65535  # a marker
        dataset = film(bits, PhotometricInterpretation=photometric, PixelData=stored.tobytes())
        pictures.append(read_image(save(dataset, tmp_path / f"{number}.dcm")))
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


@pytest.mark.parametrize(
    ("elements", "inverted"),
    [(FALLING, True), ({**FALLING, **INVERSE}, False), ({**INVERSE, "signed": True}, True), ({"signed": True}, False)],
)
def test_white_of_16_bits_is_decided_whatever_their_sign_and_slope(
    tmp_path: Path, elements: dict[str, Any], inverted: bool
) -> None:
    file = save(film(16, PixelData=(FILM >> 4).tobytes(), **elements), tmp_path / "a.dcm")
    picture = read_image(file)
    assert (picture.white, picture.inverted) == (None, inverted)
    scale = decide_scale([scan_image(picture, file)])
    levels = 255 - (FILM >> 4) * (255 / 4095) if inverted else (FILM >> 4) * (255 / 4095)
    np.testing.assert_array_equal(render(picture, scale, channels=1), np.rint(levels))
    deep = read_depth(file, white=4095)
    assert deep is not None
    np.testing.assert_allclose(shown(deep), levels, atol=1e-9)


@pytest.mark.parametrize(
    ("bits", "elements", "word"),
    [
        (12, {"WindowCenter": 20000, "WindowWidth": 400}, "single grey level"),
        (8, {"VOILUTSequence": [look_up(256, 16)]}, "16 bits whose entries reach 255"),
        (12, {"ModalityLUTSequence": [look_up(4096, 12)]}, "Modality LUT of 12 bits"),
        (12, {"RescaleSlope": 0, "RescaleIntercept": 5}, "RescaleSlope"),
        (12, {"RescaleIntercept": -1024}, "RescaleIntercept"),
        (16, {"signed": True, "PixelData": HIGH.tobytes()}, "negative.*window"),
        (8, {"Rows": 32}, "holds 2 frames"),
        *(
            (12, {"signed": signed, "HighBit": high, "PixelData": (FILM >> shift).tobytes()}, "HighBit")
            for signed in (False, True)
            for shift, high in ((3, 11), (4, 15), (0, 10), (0, 16))
        ),
        *(
            (12, {keyword: None}, keyword)
            for keyword in ("BitsAllocated", "BitsStored", "Columns", "PixelRepresentation", "SamplesPerPixel")
        ),
    ],
)
def test_what_would_show_little_or_another_picture_is_refused(
    tmp_path: Path, bits: int, elements: dict[str, Any], word: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.dcm.*{word}"):
        read_image(save(film(bits, **elements), tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        ({"PixelPaddingValue": int(FILM[0, 0] >> 8)}, "PixelPaddingValue"),
        ({"ShutterShape": "RECTANGULAR"}, "shutter"),
        ({"PresentationLUTShape": "INVERSE"}, "PresentationLUTShape"),
        ({"PresentationLUTShape": "IDENTITY", **INVERSE}, "PresentationLUTShape"),
        ({"VOILUTSequence": [look_up(256, 8), look_up(256, 8)]}, "first of several"),
        ({"WindowCenter": 128, "WindowWidth": 2}, "90% of the pixels"),
    ],
)
def test_what_viewers_may_show_in_another_way_is_noted(tmp_path: Path, elements: dict[str, Any], word: str) -> None:
    assert any(word in note for note in read_image(save(film(8, **elements), tmp_path / "a.dcm")).notes)
    plain = film(8, PresentationLUTShape="IDENTITY", WindowCenter=128, WindowWidth=256)
    assert read_image(save(plain, tmp_path / "b.dcm")).notes == ("DICOM window applied",)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2.0, "RescaleIntercept": -1000.0}, FALLING])
def test_windows_are_applied_as_pydicom_does(tmp_path: Path, function: str | None, rescale: dict[str, Any]) -> None:
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    dataset = film(12, WindowCenter=[1500, 1], WindowWidth=[901, 2], **rescale)
    if function:
        dataset.VOILUTFunction = function
    ends = apply_modality_lut(np.array([0, 4095]), dataset)
    displayed = apply_windowing(apply_modality_lut(FILM >> 4, dataset), dataset)
    picture = read_image(save(dataset, tmp_path / "a.dcm"))
    expected = (displayed.clip(ends.min(), ends.max()) - ends[0]) / (ends[1] - ends[0]) * 4095
    assert np.abs(picture.pixels - expected).max() <= 1
    assert picture.notes == ("first of several DICOM windows applied",)


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


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [9, 9]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.3, 0.3]}, (0.3, 0.3)),
        ({"PixelSpacing": [0, 0]}, None),
        ({}, None),
    ],
)
def test_pixel_spacing_is_kept(tmp_path: Path, elements: dict[str, Any], spacing: tuple[float, float] | None) -> None:
    assert read_image(save(film(**elements), tmp_path / "a")).spacing == spacing


# --- values before the window ----------------------------------------------------------------------------------------

RESCALED = {"RescaleSlope": 2.5, "RescaleIntercept": -1024}
WINDOW = {"WindowCenter": 600, "WindowWidth": 900}


def rising() -> "Dataset":
    """Return a VOI table that is a straight line from 500 on."""
    from pydicom import Dataset

    item = Dataset()
    item.LUTDescriptor, item.LUTData = [1000, 500, 12], np.linspace(0, 4095, 1000).astype("<u2").tobytes()
    return item


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("bits", "elements"),
    [
        (12, {}),
        (12, RESCALED),
        (12, {**RESCALED, "signed": True}),
        (12, FALLING),
        (12, {**RESCALED, **WINDOW}),
        (12, {**RESCALED, **WINDOW, "VOILUTFunction": "LINEAR_EXACT"}),
        (12, {"signed": True, **WINDOW}),
        (8, {"WindowCenter": 100, "WindowWidth": 50}),
        (16, {}),
        (16, FALLING),
        (16, WINDOW),
        (16, {"signed": True, "WindowCenter": 0, "WindowWidth": 4096}),
        (12, {"VOILUTSequence": [rising()]}),
    ],
)
def test_a_film_through_its_own_window_is_what_the_model_is_given(
    tmp_path: Path, bits: int, elements: dict[str, Any], photometric: str
) -> None:
    path = save(film(bits, PhotometricInterpretation=photometric, **elements), tmp_path / "a.dcm")
    white = 49151
    found = read_depth(path, white=white)
    assert found is not None
    dataset = pydicom.dcmread(path)
    expected = pydicom.pixels.processing.apply_modality_lut(dataset.pixel_array, dataset)
    np.testing.assert_allclose(found.slope * found.stored + found.intercept, expected, atol=1e-9)
    given = render(read_image(path), IntensityScale(white), channels=1)
    assert np.abs(shown(found) - given).max() <= 1  # rounded twice


def test_deep_png_files_hold_their_own_values_and_shallow_ones_none(tmp_path: Path) -> None:
    deep, shallow = tmp_path / "deep.png", tmp_path / "shallow.png"
    Image.fromarray(FILM).save(deep)
    Image.fromarray(FILM.astype(np.uint8)).save(shallow)
    found = read_depth(deep, white=4095)
    assert found is not None
    np.testing.assert_array_equal(found.stored, FILM)
    assert found[1:6] == (1.0, 0.0, 0.0, 4095.0, False)
    assert read_depth(shallow, white=4095) is None
    assert read_depth(save(film(8), tmp_path / "film.dcm"), white=None) is None
