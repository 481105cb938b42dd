"""Independent readers find no error: ``dciodvfy`` of dicom3tools, on made-up and on real sources."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dicom_output.films import CR, CT, DX, errors_of, film, result, save

from trustseg.data.decode import read_image
from trustseg.dicom_output import SegmentMeaning, read_source, write_objects

pytest.importorskip("highdicom")

SC = "1.2.840.10008.5.1.4.1.1.7"
PLACES = [Path(os.environ.get("TRUSTSEG_DATA", "nowhere")), Path(__file__).parents[3] / "shared" / "data"]
SOURCES: dict[str, dict[str, Any]] = {
    "radiograph": {"kind": CR},
    "digital": {"kind": DX, "PixelSpacing": [0.2, 0.2], "PatientOrientation": ["L", "F"], "ImageLaterality": "L"},
    "slice": {"kind": CT},
    "capture": {"kind": SC, "LossyImageCompression": "01", "LossyImageCompressionRatio": 10},
    "without": {"kind": CR, "SeriesNumber": None, "InstanceNumber": None, "Modality": None},
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("review", [True, None])
def test_made_up_sources(tmp_path: Path, name: str, review: bool | None) -> None:
    source = read_source(save(film(**SOURCES[name]), tmp_path / "film.dcm"))
    found = result(review=review, policy=() if review is None else ("a policy",))
    for file in write_objects(source, found, SegmentMeaning(), tmp_path, "film"):
        assert errors_of(file) == [], file.name


@pytest.mark.real
def test_real_sources(tmp_path: Path) -> None:
    files = sorted(file for place in PLACES for file in (place / "dicom").glob("*.dcm"))
    if not files:
        pytest.skip("the real images are absent; set TRUSTSEG_DATA to the folder that holds dicom")
    for film_file in files:
        picture = read_image(film_file)
        size = picture.size[::-1]
        shown = (picture.pixels * (255 / (picture.white or 65535))).astype(np.uint8)
        made = write_objects(
            read_source(film_file), result(size, shown=shown), SegmentMeaning(), tmp_path, film_file.stem
        )
        assert {file.name: errors_of(file) for file in made} == {file.name: [] for file in made}
