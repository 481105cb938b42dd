"""DICOM files: compression, headers, objects that are no film, and the names of patients."""

import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests import fake
from tests.data.dicom_films import CR, FILM, SECRET, STORAGE, US, film, save

from trustseg.data import split_cases, write_pack
from trustseg.data.check import check_dataset
from trustseg.data.decode import in_threads, read_image, read_mask
from trustseg.errors import DataError, MissingPackageError

if TYPE_CHECKING:
    import pydicom
else:
    pydicom = pytest.importorskip("pydicom")


def with_syntax(path: Path, target: Path, syntax: str) -> Path:
    """Write a file anew with gdcm, which knows every JPEG."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()
    return target


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        *(("JPEG2000Lossless", 8), ("JPEG2000Lossless", 12), ("RLELossless", 16), ("JPEGLSLossless", 12)),
        *(("JPEGLosslessProcess14_1", 8), ("JPEGLosslessProcess14_1", 16), ("JPEGLosslessProcess14", 12)),
        ("JPEGBaselineProcess1", 8),
    ],
)
def test_compressed_films_equal_uncompressed_ones(tmp_path: Path, syntax: str, bits: int) -> None:
    plain = save(film(bits, WindowCenter=2 ** (bits - 1), WindowWidth=2**bits), tmp_path / "a.dcm")
    packed = read_image(with_syntax(plain, tmp_path / "b.dcm", syntax))
    expected = read_image(plain)
    if syntax == "JPEGBaselineProcess1":  # lossy
        assert np.abs(packed.pixels.astype(int) - expected.pixels).mean() < 15
    else:
        np.testing.assert_array_equal(packed.pixels, expected.pixels)
    assert packed.white == expected.white


@pytest.mark.parametrize("syntax", ["JPEGBaselineProcess1", "JPEGLosslessProcess14_1", "JPEG2000Lossless"])
def test_compressed_pixels_that_end_early_are_refused(tmp_path: Path, syntax: str) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate, get_frame

    dataset = dcmread(with_syntax(save(film(8), tmp_path / "a.dcm"), tmp_path / "b.dcm", syntax))
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1).rstrip(b"\0")
    end = b"" if syntax == "JPEG2000Lossless" else b"\xff\xd9"
    dataset.PixelData = encapsulate([stream[: len(stream) // 2] + end])
    with pytest.raises(DataError, match=r"c\.dcm.*(end early|cannot be decoded)"):
        read_image(save(dataset, tmp_path / "c.dcm"))


def test_a_compression_that_no_decoder_knows_is_named(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    file = with_syntax(save(film(8), tmp_path / "a.dcm"), tmp_path / "b.dcm", "JPEG2000Lossless")
    dataset = dcmread(file)
    for syntax, name in (("1.2.840.10008.1.2.4.51", "JPEG Extended"), ("1.2.840.10008.1.2.4.100", "MPEG2")):
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        with pytest.raises(DataError, match=rf"b\.dcm.*{name}.*convert it to JPEG lossless") as caught:
            read_image(save(dataset, tmp_path / "b.dcm"))
        assert "Error" not in str(caught.value)


def test_deflated_files_overlays_and_bytes_after_the_pixels(tmp_path: Path) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dataset = film(8)
    dataset.PixelData += bytes(1000)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x60000010, "US", 64)
    picture = read_image(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(picture.pixels, FILM >> 8)
    assert picture.notes == ("DICOM overlays not drawn",)


@pytest.mark.parametrize("name", ["a.dcm", "a.dicom", "a", "1.2.840.113619"])
def test_files_without_a_meta_header_are_recognised_by_content(tmp_path: Path, name: str) -> None:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    for implicit, little in ((True, True), (False, True), (False, False)):
        dataset = film(12, PhotometricInterpretation="MONOCHROME1")
        if not little:
            dataset.PixelData = (FILM >> 4).astype(">u2").tobytes()
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = implicit, little
        write_dataset(stream, dataset)
        (tmp_path / name).write_bytes(stream.getvalue())
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, 4095 - (FILM >> 4))


COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
NO_PIXELS = ("PixelData", "Rows", "Columns", "PhotometricInterpretation", "SamplesPerPixel")


@pytest.mark.parametrize(
    ("kind", "elements", "word"),
    [
        (US, {**COLOUR, "PixelData": bytes(3 * FILM.size)}, "RGB.*Ultrasound"),
        (US, {"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        (f"{STORAGE}.3.1", {"NumberOfFrames": 4, "PixelData": bytes(4 * FILM.size)}, "4 frames.*Ultrasound Multi-"),
        (f"{STORAGE}.12.1.1", {"SharedFunctionalGroupsSequence": [pydicom.Dataset()]}, "Enhanced XA"),
        (f"{STORAGE}.66.4", {}, "Segmentation"),
        (f"{STORAGE}.481.2", {"bits": 16}, "RT Dose"),
        (CR, {"WindowCenter": 5, "WindowWidth": 0}, "window"),
        (CR, {"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CURVE"}, "window"),
        (CR, {"bits": 16, "BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "32 bits"),
        (f"{STORAGE}.88.11", dict.fromkeys(NO_PIXELS), "Basic Text SR"),
        (f"{STORAGE}.104.1", dict.fromkeys(NO_PIXELS), "Encapsulated PDF"),
        (f"{STORAGE}.11.1", dict.fromkeys(NO_PIXELS), "Grayscale Softcopy Presentation State"),
    ],
)
def test_other_objects_are_refused_by_name(tmp_path: Path, kind: str, elements: dict[str, Any], word: str) -> None:
    with pytest.raises(DataError, match=rf"a\.dcm.*{word}") as caught:
        read_image(save(film(kind=kind, **elements), tmp_path / "a.dcm"))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_damaged_files_are_named_and_no_patient_is(tmp_path: Path) -> None:
    whole = save(film(12), tmp_path / "whole.dcm").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        data = bytearray(whole)
        if number < 20:
            data = data[: int(len(data) * number / 20)]
        else:
            for place in rng.integers(128, 900, 6):
                data[place] = int(rng.integers(256))
        file = tmp_path / "a.dcm"
        file.write_bytes(data)
        said = ""
        try:
            read_image(file)
        except DataError as error:
            said = "".join(traceback.format_exception(error))
        assert SECRET not in said
        assert not said or "a.dcm" in said


def test_a_mask_in_dicom_is_refused_and_text_is_no_dicom(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_mask(save(film(8), tmp_path / "a.dcm"))
    (tmp_path / "b.dcm").write_text("no film at all" * 30)
    with pytest.raises(DataError, match=r"b\.dcm"):
        read_image(tmp_path / "b.dcm")


def test_reading_in_threads_leaves_the_warnings_as_they_were(tmp_path: Path) -> None:
    files = [save(film(8), tmp_path / "a.dcm"), fake.save(fake.image("a"), tmp_path / "b.png")]
    before = list(warnings.filters)
    in_threads(read_image, files * 40, progress=None)
    assert warnings.filters == before


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(film(8), tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPackageError, match=r"a\.dcm .*trustseg\[dicom\]"):
        read_image(file)


@pytest.mark.parametrize("across", [True, False])
def test_one_patient_id_is_one_patient_and_stays_unnamed(tmp_path: Path, across: bool) -> None:
    root, mask = tmp_path / "data", np.zeros(FILM.shape, dtype=np.uint8)
    mask[:2, :2] = 255
    owners = ["ID1", "id1 ", "ID2", "ID3", "", "ID4", "ID1" if across else "ID5"]
    for number, owner in enumerate(owners):
        side = root / ("train" if number < 5 else "test")
        pixels = np.roll(FILM >> 8, 97 * number).astype(np.uint8).tobytes()
        save(film(PatientID=owner, PixelData=pixels), side / "images" / f"film{number}.dcm")
        fake.save(mask, side / "masks" / f"film{number}.png")
    report = check_dataset(root, size=32)
    errors = [finding.kind for finding in report.findings if finding.severity == "error"]
    assert errors == ["patient_leak"] * across
    assert report.unknown_patients == {"train": 1}
    pack = write_pack(root, tmp_path / "pack", size=32)
    assert pack.index["patient"].to_list()[:2] == ["film0", "film0"]
    written = b"".join(file.read_bytes() for file in (tmp_path / "pack").iterdir())
    assert b"ID1" not in written
    assert SECRET.encode() not in written
    if across:
        with pytest.raises(DataError, match="both train and test"):
            split_cases(pack.index)
    else:
        split_cases(pack.index)
