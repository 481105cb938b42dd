"""Values of deep images: those of the file, and shown through its own window they are the grey levels of the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.dicom_films import FILM, film, save

from trustseg.data.decode import read_image
from trustseg.data.depth import read_depth
from trustseg.data.intensity import IntensityScale, render

pydicom = pytest.importorskip("pydicom")

RESCALED = {"RescaleSlope": 2.5, "RescaleIntercept": -1024}
WINDOW = {"WindowCenter": 600, "WindowWidth": 900}
TABLE = np.linspace(0, 4095, 1000).astype("<u2")


def voi_table() -> Any:  # noqa: ANN401 - pydicom's
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [1000, 500, 12], TABLE.tobytes()
    return pydicom.Sequence([item])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("bits", "elements"),
    [
        (12, {}),
        (12, RESCALED),
        (12, {**RESCALED, "signed": True}),
        (12, {"RescaleSlope": -1, "RescaleIntercept": 4000}),
        (12, {**RESCALED, **WINDOW}),
        (12, {**RESCALED, **WINDOW, "VOILUTFunction": "LINEAR_EXACT"}),
        (12, {"signed": True, **WINDOW}),
        (8, {"WindowCenter": 100, "WindowWidth": 50}),
        (16, {}),
        (16, {"RescaleSlope": -1, "RescaleIntercept": 4000}),
        (16, WINDOW),
        (12, {"VOILUTSequence": voi_table()}),
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
    values = found.slope * found.stored + found.intercept
    expected = pydicom.pixels.processing.apply_modality_lut(dataset.pixel_array, dataset)
    np.testing.assert_allclose(values, expected, atol=1e-9)
    shown = ((values - found.black) / (found.white - found.black)).clip(0, 1)
    given = render(read_image(path), IntensityScale(white), channels=1)
    assert np.abs(255 * (1 - shown if found.inverted else shown) - given).max() <= 1  # rounded twice


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
