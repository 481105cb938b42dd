"""Independent readers find no error: ``dciodvfy`` of dicom3tools, on made-up and on real sources."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.dicom_output.films import CR, CT, DX, errors_of, film, result, save, source_of

from trustseg.data.decode import read_image
from trustseg.dicom_output import SegmentMeaning, read_source, write_objects

pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

Array = NDArray[Any]

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
    source = source_of(tmp_path, **SOURCES[name])
    found = result(review=review, policy=() if review is None else ("a policy",))
    for file in write_objects(source, found, SegmentMeaning(), tmp_path, "film"):
        assert errors_of(file) == [], file.name


@pytest.mark.parametrize("kind", [CR, CT])
def test_patient_study_series_and_frame_of_reference_agree_between_all_files(tmp_path: Path, kind: str) -> None:
    if shutil.which("dcentvfy") is None:
        pytest.skip("dcentvfy of dicom3tools is not installed")
    files = []
    for seed in (0, 1):
        files.append(save(film(kind, seed=seed, PatientAge="055Y"), tmp_path / f"{seed}.dcm"))
        files += write_objects(read_source(files[-1]), result(), SegmentMeaning(), tmp_path, f"{seed}")
    told = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, check=True)
    lines = [line for line in (told.stdout + told.stderr).splitlines() if "AccessionNumber" not in line]
    assert lines == []  # of an accession number it says that reports hold it at another level, as the standard has it


def read_nrrd(file: Path) -> Array:
    """Return the pixels (rows, columns) of a file with one slice, as dcmqi writes it."""
    header, _, body = file.read_bytes().partition(b"\n\n")
    facts = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    kinds = {"float": "f4", "double": "f8", "short": "i2", "unsigned char": "u1", "unsigned short": "u2"}
    columns, rows, _ = map(int, facts["sizes"].split())
    data = gzip.decompress(body) if facts["encoding"].startswith("gz") else body
    return np.frombuffer(data, f"<{kinds[facts['type']]}").reshape(rows, columns)


@pytest.mark.oracle
def test_dcmqi_reads_the_objects_of_a_slice(tmp_path: Path) -> None:
    """Its converters know no image without a place in the patient, nor a map without an anatomic region."""
    if shutil.which("paramap2itkimage") is None:
        pytest.skip("dcmqi is not installed")
    region = pydicom.Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
    source = source_of(tmp_path, CT, AnatomicRegionSequence=[region], Laterality="U")
    seg, plane, _, report = write_objects(source, result(), SegmentMeaning(), tmp_path, "film")
    assert errors_of(plane) == []
    for name, file in (("segimage2itkimage", seg), ("paramap2itkimage", plane)):
        (tmp_path / name).mkdir()
        call: list[str | Path] = [name, "--inputDICOM", file, "--outputDirectory", tmp_path / name, "-t", "nrrd"]
        subprocess.run(call, check=True, capture_output=True)
    np.testing.assert_array_equal(read_nrrd(tmp_path / "segimage2itkimage" / "1.nrrd"), result().mask)
    (pixels,) = (tmp_path / "paramap2itkimage").glob("*.nrrd")
    np.testing.assert_array_equal(read_nrrd(pixels), result().uncertainty)
    call = ["tid1500reader", "--inputDICOM", report, "--outputMetadata", tmp_path / "report.json"]
    subprocess.run(call, check=True, capture_output=True)
    assert "0.25" in (tmp_path / "report.json").read_text()


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
