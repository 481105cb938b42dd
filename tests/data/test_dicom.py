"""DICOM files written by pydicom: displayed as the standard says, anything else refused without naming a patient."""

import sys
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from tests import fake

from trustseg.data import split_cases, write_pack
from trustseg.data.cases import Case
from trustseg.data.check import check_dataset
from trustseg.data.decode import in_threads, read_image, read_mask
from trustseg.data.depth import read_depth
from trustseg.data.groups import with_marked_patients
from trustseg.data.intensity import decide_scale, render, scan_image
from trustseg.errors import DataError, MissingPackageError

if TYPE_CHECKING:
    from pydicom import Dataset
else:
    pydicom = pytest.importorskip("pydicom")

Array = npt.NDArray[Any]

CR, DX, US = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.6.1"
SECRET = "SECRET"  # in every element that tells of a person
FILM: Array = np.random.default_rng(0).integers(0, 65536, (64, 80), dtype=np.uint16)


def film(bits: int = 8, *, kind: str = CR, signed: bool = False, **elements: Any) -> "Dataset":  # noqa: ANN401
    """Return a radiograph of noise with ``bits`` stored, and further elements by keyword."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(kind)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3")
    dataset.PatientName = dataset.PatientID = dataset.InstitutionName = dataset.StudyDescription = SECRET
    values = FILM >> (16 - bits)
    stored = values.astype(np.uint8 if bits <= 8 else np.uint16)
    if signed:
        stored = (values.astype(np.int32) - 2 ** (bits - 1)).astype(np.int8 if bits <= 8 else np.int16)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = stored.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: "Dataset", path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


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
    assert (picture.white is None) == (kind == "ModalityLUTSequence")
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


def test_bytes_after_the_pixels_are_ignored_without_a_warning(tmp_path: Path) -> None:
    dataset = film(8)
    dataset.PixelData += bytes(1000)
    np.testing.assert_array_equal(read_image(save(dataset, tmp_path / "a.dcm")).pixels, FILM >> 8)


def test_a_film_in_jpeg_2000_gives_the_same_pack(tmp_path: Path) -> None:
    from pydicom.uid import JPEG2000Lossless

    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    for name in ("a", "b"):
        dataset = film(12, PhotometricInterpretation=f"MONOCHROME{1 + (name == 'b')}")
        save(dataset, tmp_path / "plain" / f"{name}.dcm")
        dataset.compress(JPEG2000Lossless)
        save(dataset, tmp_path / "packed" / f"{name}.dcm")
    packs = [write_pack(tmp_path / kind, tmp_path / f"{kind}.pack", size=16) for kind in ("plain", "packed")]
    np.testing.assert_array_equal(packs[0].images, packs[1].images)
    assert packs[0].digest == packs[1].digest
    first, second = packs[0].images.astype(int)
    assert np.abs(first - (255 - second)).max() <= 1  # halves are rounded to even
    assert packs[0].notes == packs[1].notes


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


def test_deflated_files_and_overlays(tmp_path: Path) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dataset = film(8)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x60000010, "US", 64)
    picture = read_image(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(picture.pixels, FILM >> 8)
    assert picture.notes == ("DICOM overlays not drawn",)


def unusual() -> dict[str, tuple["Dataset", str]]:
    """Return objects that are no grey film, each with a word that must name it."""
    from pydicom import Dataset

    colour = film(8, kind=US, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    colour.PixelData = np.zeros((64, 80, 3), dtype=np.uint8).tobytes()
    frames = film(8, kind="1.2.840.10008.5.1.4.1.1.3.1", NumberOfFrames=4)
    frames.PixelData = np.zeros((4, 64, 80), dtype=np.uint8).tobytes()
    objects = {
        "colour": (colour, "RGB.*Ultrasound"),
        "palette": (film(8, kind=US, PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR"),
        "frames": (frames, "4 frames.*Ultrasound Multi-frame"),
        "enhanced": (
            film(8, kind="1.2.840.10008.5.1.4.1.1.12.1.1", SharedFunctionalGroupsSequence=[Dataset()]),
            "Enhanced XA",
        ),
        "mask": (film(8, kind="1.2.840.10008.5.1.4.1.1.66.4"), "Segmentation"),
        "dose": (film(16, kind="1.2.840.10008.5.1.4.1.1.481.2"), "RT Dose"),
        "window": (film(8, WindowCenter=5, WindowWidth=0), "window"),
        "curve": (film(8, WindowCenter=5, WindowWidth=9, VOILUTFunction="CURVE"), "window"),
        "deep": (film(16, BitsAllocated=32, BitsStored=32, HighBit=31), "32 bits"),
    }
    for name, uid, word in (
        ("report", "1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR"),
        ("pdf", "1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
        ("state", "1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State"),
    ):
        empty = film(8, kind=uid)
        for keyword in ("PixelData", "Rows", "Columns", "PhotometricInterpretation", "SamplesPerPixel"):
            delattr(empty, keyword)
        objects[name] = (empty, word)
    return objects


@pytest.mark.parametrize(
    "name",
    ["colour", "palette", "frames", "enhanced", "mask", "dose", "window", "curve", "deep", "report", "pdf", "state"],
)
def test_other_objects_are_refused_by_name(tmp_path: Path, name: str) -> None:
    dataset, word = unusual()[name]
    with pytest.raises(DataError, match=rf"a\.dcm.*{word}") as caught:
        read_image(save(dataset, tmp_path / "a.dcm"))
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


def test_no_identifying_element_reaches_a_pack(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        save(film(12), tmp_path / "data" / f"{name}.dcm")
    write_pack(tmp_path / "data", tmp_path / "pack", size=16)
    for file in (tmp_path / "pack").iterdir():
        assert SECRET.encode() not in file.read_bytes()


@pytest.mark.parametrize("across", [True, False])
def test_one_patient_id_is_one_patient_and_stays_unnamed(tmp_path: Path, across: bool) -> None:
    root, numbers = tmp_path / "data", iter(range(99))
    owners = {"train": ["ID1", "id1 ", "ID2", "ID3", ""], "test": ["ID4", "ID1" if across else "ID5"]}
    for side, names in owners.items():
        for name in names:
            number = next(numbers)
            dataset = film()
            dataset.PatientID = name
            dataset.PixelData = np.roll(np.frombuffer(dataset.PixelData, np.uint8), 97 * number).tobytes()
            (root / side / "images").mkdir(parents=True, exist_ok=True)
            save(dataset, root / side / "images" / f"film{number}.dcm")
            mask = np.zeros((dataset.Rows, dataset.Columns), dtype=np.uint8)
            mask[:2, :2] = 255
            fake.save(mask, root / side / "masks" / f"film{number}.png")
    report = check_dataset(root, size=32)
    assert {finding.kind for finding in report.findings if finding.severity == "error"} == (
        {"patient_leak"} if across else set()
    )
    assert report.unknown_patients == {"train": 1}
    pack = write_pack(root, tmp_path / "pack", size=32)
    assert pack.index["patient"].to_list()[:2] == ["film0", "film0"]
    assert not any(b"ID1" in file.read_bytes() for file in (tmp_path / "pack").iterdir())
    if across:
        with pytest.raises(DataError, match="both train and test"):
            split_cases(pack.index)
    else:
        split_cases(pack.index)


def test_one_id_for_all_tells_nothing() -> None:
    cases = [Case(name, Path(name), (), None, "train") for name in "abc"]
    assert with_marked_patients(cases, ["x", "x", ""]) == tuple(cases)
    named = [replace(cases[0], patient="P"), *cases[1:]]
    assert [case.patient for case in with_marked_patients(named, ["x", "x", "y"])] == ["P", "P", "c"]
    two = [*named[:2], replace(cases[2], patient="Q")]
    assert [case.patient for case in with_marked_patients([*two, cases[0]], ["x", "x", "x", "y"])] == [
        "P",
        None,
        "Q",
        "a",
    ]
