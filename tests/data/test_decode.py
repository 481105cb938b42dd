"""Files to native values, held against Pillow's own reading and arrays written before; every bad file is named."""

import hashlib
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageOps
from tests import fake

from trustseg.data.decode import in_threads, read_image, read_mask
from trustseg.errors import DataError, MissingFileError

Array = npt.NDArray[Any]

COLOURS: Array = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
LOSSLESS = pytest.mark.parametrize("end", ["png", "bmp", "tif", "gif"])
READERS = (read_image, read_mask)


def write(path: Path, image: Image.Image, **options: Any) -> Path:  # noqa: ANN401 - Pillow's options
    image.save(path, **options)
    return path


def test_threads_give_results_in_order_and_count_them() -> None:
    second_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_done.wait(10)  # the first item ends last
        if number == 1:
            second_done.set()
        if number > 2:
            raise DataError(f"image {number}")
        return 10 * number

    calls: list[tuple[int, int]] = []
    assert in_threads(work, [0, 1, 2], progress=lambda *call: calls.append(call)) == [0, 10, 20]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert in_threads(work, [], progress=None) == []
    with pytest.raises(DataError, match="image 4"):
        in_threads(work, [4, 5], progress=None)


def test_files_that_are_not_there_or_no_images(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    with pytest.raises(MissingFileError, match=r"a\.png does not exist"):
        read_image(file)
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_mask(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be decoded \(0 bytes\).*PNG, JPEG"):
        read_image(file)
    write(file, Image.fromarray(fake.image("a")), format="WEBP")  # whatever its name says
    with pytest.raises(DataError, match=r"cannot be decoded \(unknown format\)"):
        read_image(file)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([[0.5, np.nan]], r"NaN or infinite values \(32-bit float\)"),
        ([[0.5, np.inf]], "NaN or infinite values"),
        ([[0.5, 1.0]], "fractional numbers"),
        ([[-1, 5]], "holds values from -1 to 5"),
        ([[0, 70000]], "holds values from 0 to 70000"),
    ],
)
def test_values_that_are_no_grey_levels(tmp_path: Path, values: list[list[float]], sentence: str) -> None:
    found = np.array(values)
    file = fake.save(found.astype(np.float32 if found.dtype.kind == "f" else np.int32), tmp_path / "a.tif")
    for read in READERS:
        with pytest.raises(DataError, match=sentence):
            read(file)


@LOSSLESS
def test_grey_values_and_one_bit_stay_as_they_are(tmp_path: Path, end: str) -> None:
    file = fake.save(fake.image("a", size=(7, 5)), tmp_path / f"a.{end}")
    bits = write(tmp_path / f"b.{end}", Image.fromarray(np.array([[True, False, True]])))
    for read in READERS:
        picture = read(file)
        np.testing.assert_array_equal(picture.pixels, fake.image("a", size=(7, 5)))
        assert (picture.size, picture.white, picture.notes) == ((7, 5), 255, ())
        assert picture.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert read(bits).pixels.tolist() == [[255, 0, 255]]


@LOSSLESS
def test_colours_and_palettes_are_kept_and_grey_colours_become_grey(tmp_path: Path, end: str) -> None:
    file = tmp_path / f"a.{end}"
    if end != "gif":
        picture = read_image(fake.save(COLOURS, file))
        np.testing.assert_array_equal(picture.pixels, COLOURS)
        assert picture.coloured
        grey = read_image(fake.save(np.stack([fake.image("a")] * 3, axis=-1), file))
        np.testing.assert_array_equal(grey.pixels, fake.image("a"))
        assert not grey.coloured
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 0, 0, 0, 0, 200])  # index 0 is red, as quantize() may leave it
    red, black, blue = [255, 0, 0], [0, 0, 0], [0, 0, 200]
    assert read_mask(write(file, image)).pixels.tolist() == [[red, black], [blue, black]]
    image.putpalette([255, 255, 255, 0, 0, 0, 90, 90, 90])
    assert read_mask(write(file, image)).pixels.tolist() == [[255, 0], [90, 0]]


DEEP: Array = np.random.default_rng(0).integers(0, 65536, (6, 5, 4), dtype=np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_channel_of_a_deep_png_keeps_its_16_bits(tmp_path: Path, channels: int) -> None:
    values = DEEP[..., 0].copy() if channels == 1 else DEEP[..., :channels].copy()
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    picture = read_image(tmp_path / "a.png")
    expected = values if channels in (1, 3) else values[..., 0] if channels == 2 else values[..., :3]
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.pixels.dtype == np.uint16
    assert picture.white is None  # only the data set can tell
    assert ("not opaque" in str(picture.notes)) == (channels in (2, 4))


def test_a_16_bit_mask_of_black_and_white_is_8_bit(tmp_path: Path) -> None:
    mask = read_mask(fake.save(np.array([[0, 65535]], dtype=np.uint16), tmp_path / "a.png"))
    assert mask.pixels.tolist() == [[0, 255]]
    assert mask.pixels.dtype == np.uint8
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(COLOURS.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png").pixels, COLOURS)
    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(COLOURS.astype(np.uint16)))
    with pytest.raises(DataError, match=r"c\.png"):  # 8 bits would keep none of these labels
        read_mask(tmp_path / "c.png")


ORIENTED: Array = np.array([[200, 200, 10, 20], [200, 200, 30, 40], [50, 60, 70, 80]], dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("end", ["png", "tif", "jpg"])
def test_the_orientation_is_obeyed_in_every_format(tmp_path: Path, end: str, orientation: int) -> None:
    image = Image.fromarray(np.kron(ORIENTED, np.ones((16, 16), dtype=np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = write(tmp_path / f"a.{end}", image, exif=exif, **({"quality": 100} if end == "jpg" else {}))
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    for read in READERS:
        picture = read(file)
        assert np.abs(picture.pixels - expected).max() <= (2 if end == "jpg" else 0)
        assert ("EXIF orientation applied" in picture.notes) == (orientation != 1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "P", "L", "RGB"])
def test_transparency_is_ignored_in_images_and_noted(tmp_path: Path, mode: str) -> None:
    """P, L and RGB say in a chunk of their own which value is transparent."""
    grey, options = Image.fromarray(np.array([[7, 9]], dtype=np.uint8)), {}
    if mode in ("LA", "RGBA"):
        image = grey.convert(mode)
        image.putalpha(Image.fromarray(np.array([[0, 255]], dtype=np.uint8)))
    else:
        palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
        palette.putpalette([7, 7, 7, 9, 9, 9])
        image = palette if mode in ("P", "PA") else grey.convert(mode)
        options = {"transparency": {"L": 7, "RGB": (7, 7, 7)}.get(mode, 0)}
    picture = read_image(write(tmp_path / "a.png", image, **options))
    assert picture.pixels.tolist() == [[7, 9]]
    assert "some pixels are not opaque" in str(picture.notes)
    opaque = read_image(write(tmp_path / "b.png", grey.convert("LA")))
    assert "every pixel is opaque" in str(opaque.notes)


def test_alpha_of_masks_is_kept_and_refused_where_it_could_be_the_mask(tmp_path: Path) -> None:
    drawn, file = Image.fromarray(fake.mask("a")), tmp_path / "a.png"
    white = Image.new("RGB", drawn.size, "white")
    white.putalpha(drawn)
    np.testing.assert_array_equal(read_mask(write(file, white)).alpha, fake.mask("a"))
    same = drawn.convert("RGBA")
    same.putalpha(drawn)  # white and opaque, or black and transparent: one meaning
    both = read_mask(write(file, same))
    assert both.alpha is None
    np.testing.assert_array_equal(both.pixels, fake.mask("a"))
    differs = drawn.convert("LA")
    differs.putalpha(drawn.transpose(Image.Transpose.ROTATE_180))
    with pytest.raises(DataError, match=r"a\.png"):
        read_mask(write(file, differs))


def test_near_grey_jpeg_masks_lose_their_traces_of_colour(tmp_path: Path) -> None:
    drawn = Image.fromarray(fake.mask("a", size=(32, 32)))
    mask = read_mask(write(tmp_path / "a.jpg", drawn.convert("RGB"), quality=60))
    assert mask.lossy
    assert mask.pixels.shape == (32, 32)
    red = Image.merge("RGB", [drawn, Image.new("L", drawn.size), Image.new("L", drawn.size)])
    assert read_mask(write(tmp_path / "b.jpg", red)).coloured


def test_a_colour_space_without_an_exact_conversion_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jpg", Image.new("CMYK", (16, 16)))
    for read in READERS:
        with pytest.raises(DataError, match=r"a\.jpg has the colour space"):
            read(file)


@pytest.mark.parametrize(("end", "kind"), [("png", "PNG"), ("gif", "GIF"), ("tif", "TIFF"), ("jpg", "MPO")])
def test_several_frames_are_refused_with_their_count(tmp_path: Path, end: str, kind: str) -> None:
    frames = [Image.fromarray(fake.image(name)).convert("RGB") for name in "abc"]
    file = write(tmp_path / f"a.{end}", frames[0], format=kind, save_all=True, append_images=frames[1:])
    for read in READERS:
        with pytest.raises(DataError, match=rf"a\.{end} has 3 (frames|pages)"):
            read(file)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("cut", [8, 200, 1500])
def test_a_jpeg_that_ends_early_is_refused_whatever_follows(
    tmp_path: Path, cut: int, options: dict[str, Any], mode: str
) -> None:
    image = Image.fromarray(fake.image("a", size=(64, 64))).convert(mode)
    file = write(tmp_path / "a.jpg", image, comment="\xff\xd9", **options)
    read_image(file)
    data = file.read_bytes()
    file.write_bytes(data[:-2] + b"\xff\xff\xff\xd9")  # fill bytes are no damage
    read_image(file)
    file.write_bytes(data[:-cut] + b"\xff\xd9" + data[:40])
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_image(file)


def palette(path: Path, indices: Array, colours: list[int]) -> Path:
    """Write a file of 8 bits whose palette has no more than these colours; Pillow writes no such PNG."""
    image = Image.fromarray(indices, "P")
    if path.suffix == ".bmp":
        image.putpalette(colours)
        return write(path, image)
    image.putpalette(bytes(768))
    data, chunk = write(path, image).read_bytes(), b"PLTE" + bytes(colours)
    chunk = struct.pack(">I", len(colours)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    start = data.index(b"PLTE") - 4
    path.write_bytes(data[:start] + chunk + data[start + 12 + int.from_bytes(data[start : start + 4]) :])
    return path


@pytest.mark.parametrize("end", ["png", "bmp"])
@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("other", [1, 90, 255])
def test_an_index_without_a_colour_is_refused(tmp_path: Path, end: str, ground: int, other: int) -> None:
    indices = np.zeros((20, 20), dtype=np.uint8)
    indices[:5], indices[9, 9] = 1, 2
    file = palette(tmp_path / f"a.{end}", indices, [ground] * 3 + [other] * 3)
    with pytest.raises(DataError, match=rf"a\.{end}.*(index 2 has no colour in its palette of 2|black and white)"):
        read_mask(file)
    palette(file, indices, [ground] * 3 + [other] * 3 + [7, 8, 9])
    assert read_mask(file).pixels[9, 9].tolist() == [7, 8, 9]


@pytest.mark.parametrize("end", ["png", "jpg", "bmp", "tif", "gif"])
def test_damaged_and_truncated_files_are_named(tmp_path: Path, end: str) -> None:
    file, rng = fake.save(fake.image("a", size=(64, 64)), tmp_path / f"a.{end}"), np.random.default_rng(0)
    whole = file.read_bytes()
    for share in (0.2, 0.6, 0.95):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=rf"a\.{end}"):
            read_image(file)
    for _ in range(30):
        data = bytearray(whole)
        for place in rng.integers(0, 400, 4):
            data[place] = int(rng.integers(256))
        file.write_bytes(data)
        said = file.name
        try:
            read_image(file)
        except DataError as error:
            said = str(error)
        assert file.name in said


def test_a_file_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    small = fake.save(np.zeros((2, 2), dtype=np.uint8), tmp_path / "a.png").read_bytes()
    header = small[12:16] + struct.pack(">II", 30000, 20000) + small[24:29]
    (tmp_path / "a.png").write_bytes(small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:])
    with pytest.raises(DataError, match=r"a\.png .*pixels"):
        read_image(tmp_path / "a.png")
    file = fake.save(np.zeros((2, 2), dtype=np.uint8), tmp_path / "b.tif")
    with tifffile.TiffFile(file, mode="r+") as opened:
        for tag in ("ImageWidth", "ImageLength"):
            opened.pages.first.tags[tag].overwrite(30000)
    with pytest.raises(DataError, match=r"b\.tif has 30000x30000 pixels"):
        read_image(file)
