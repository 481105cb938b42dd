"""The manifest: one table that says of each image its masks, its patient and its split."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from trustseg.data.cases import Case, Declared, Listing, Split
from trustseg.data.inventory import files_below, image_files
from trustseg.data.pairing import stem_of
from trustseg.errors import DataError, MissingFileError
from trustseg.files import replacing
from trustseg.tables import inert, original
from trustseg.text import first_of, patient_key, plural, unicode_text

__all__ = ["COLUMNS", "manifest", "unused_tables", "write_manifest"]

COLUMNS: Final = ("image", "mask", "patient", "split")
_NAMES: Final = ("manifest.csv", "manifest.tsv")
_SPLITS: Final[dict[str, Split]] = {
    **dict.fromkeys(("train", "training", "validation", "valid", "val"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("control", "controls"), "control"),
    **dict.fromkeys(("unlabelled", "unlabeled"), "unlabelled"),
}
_UNDECIDED: Final = " | "  # between candidates in a table that the user still has to correct
_SHOWN: Final = 5
_NO_PATIENT: Final = frozenset(("n/a", "na", "#n/a", "nan", "none", "null", "unknown", "?", "-"))


def manifest(path: Path, declared: Declared | None = None) -> Listing:
    """Return the cases of a manifest, empty if the path is a folder without one.

    ``path`` is the table or the folder that holds it as ``manifest.csv`` or ``manifest.tsv``. Columns ``image, mask,
    patient, split`` are required, in any order and case; further ones (``sex``, ``site`` ...) are kept with each case.
    Files are given relative to the table, or absolute; several masks of one image are separated by ``;`` and united. An
    empty mask means no reference, an empty patient (or ``N/A``, ``nan`` ...) an unknown one. Splits are ``train,
    validation, test, control`` (known to lack the target) and ``unlabelled`` (predicted only); ``validation`` joins
    ``train``, as validation cases are drawn by patient.

    The text is UTF-8 (or UTF-16 with its mark), separated by commas, semicolons, tabs or bars.
    """
    if path.is_dir():
        tables = sorted(file for file in path.iterdir() if file.name.casefold() in _NAMES and file.is_file())
        if len(tables) > 1:
            raise DataError(
                f"{path} holds {' and '.join(file.name for file in tables)}; keep one, or set data.path to it"
            )
        if not tables:
            return Listing()
        table = tables[0]
    elif not (table := path).is_file():
        raise MissingFileError(f"{path} does not exist; give a manifest or a dataset folder (data.path)")
    header, rows = _table(table)
    names = [name.casefold() for name in header]
    if table != path and not {"image", "mask"} & set(names) and not _names_files(table, rows):
        return Listing()  # somebody else's table of the same name
    _check_header(table, names)
    if declared and (declared.masks or declared.controls):
        raise DataError(f"{table} already lists masks and controls; leave out data.masks and data.controls")
    keys = [name if name.casefold() not in COLUMNS else name.casefold() for name in header]
    lines = [(number, dict(zip(keys, row, strict=True))) for number, row in rows]
    if not lines:
        raise DataError(f"{table} has a header but no lines; add one for each image")
    cases = [_case(table, number, row) for number, row in lines]
    _check_files(table, [number for number, _ in lines], cases)
    notes = []
    if any(row["split"].casefold().startswith("val") for _, row in lines):
        notes.append("validation images are added to the training set; validation cases are drawn from it by patient")
    if unknown := sorted({row["patient"] for _, row in lines if row["patient"] and not _patient(row["patient"])}):
        notes.append(f"patients written as {', '.join(unknown)} are unknown: each image counts as a separate patient")
    bare = sum(not case.masks and case.split in ("train", "test") for case in cases)
    if bare:
        notes.append(f"{bare} images of train or test have no reference mask and are not used for training or testing")
    used = {os.path.realpath(file) for case in cases for file in (case.image, *case.masks)}
    below = image_files(path) if table != path else []
    unused = tuple(file for file in below if os.path.realpath(file) not in used)
    return Listing(tuple(cases), passed_over=unused, notes=tuple(notes))


def unused_tables(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the tables below a folder that are named as a manifest, with their columns if they can be read."""
    for table, hidden in files_below(folder):
        if table.name.casefold() in _NAMES and not hidden and table.is_file():
            try:
                yield table, _table(table)[0]
            except DataError:
                yield table, []


def write_manifest(listing: Listing, target: Path) -> None:
    """Write what the layouts found as a table, with paths relative to it, so that it can be corrected by hand.

    Where masks are still to be chosen, the candidates stand in one cell with ``|`` between them, which no reader takes:
    leave one, or separate those to be united by ``;``. Images that lack a mask are written as ``unlabelled``.
    """
    if target.exists():
        raise DataError(f"{target} already exists; delete it, or choose another file with -o")
    unpaired = [Case(stem_of(image), image, (), None, "unlabelled") for image in listing.unpaired_images]
    extra = list(dict.fromkeys(chain.from_iterable(case.columns for case in listing.cases)))
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*COLUMNS, *map(inert, extra)])
        for case in (*listing.cases, *unpaired):
            between = _UNDECIDED if case.image in listing.undecided else ";"
            masks = between.join(_relative(mask, target) for mask in case.masks)
            more = [case.columns.get(name, "") for name in extra]
            cells = (_relative(case.image, target), masks, case.patient or "", case.split, *more)
            writer.writerow(map(inert, cells))


def _names_files(table: Path, rows: Sequence[tuple[int, Sequence[str]]]) -> bool:
    """Return whether cells of the first lines name files: such a table is meant for these images."""
    return any(
        os.path.isfile(table.parent / cell.replace("\\", "/")) for _, row in rows[:_SHOWN] for cell in row if cell
    )


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    text, skipped = _text(path), 0
    if text[:4].lower() == "sep=":  # Excel's own hint
        text, skipped = text.partition("\n")[2], 1
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num + skipped, [original(cell.strip()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num} is not valid CSV ({error}); correct it") from error
    rows = [(number, row) for number, row in rows if any(row)]
    header = rows[0][1] if rows else []
    width = len(header)
    while width and not any(row[width - 1] for _, row in rows if len(row) >= width):
        width -= 1  # empty columns at the end, as spreadsheets leave them
    for number, row in rows:
        if len(row) < width or any(row[width:]):
            if header[0].startswith("#"):
                raise DataError(f"{path} begins with a comment ({header[0]}) instead of its header; delete that line")
            raise DataError(f"{path} line {number} has {len(row)} cells, but the header {width}; correct it")
    return header[:width], [(number, row[:width]) for number, row in rows[1:]]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not wide and b"\0" in data:
        raise DataError(f"{path} is not plain text (perhaps UTF-16 without a byte order mark); save it as CSV UTF-8")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8 (byte {error.start}); save it as CSV UTF-8") from error


def _check_header(table: Path, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"{table} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; found: {', '.join(names)}. "
            f"Required are {', '.join(COLUMNS)}"
        )
    twice = [name or "(empty)" for name, count in Counter(names).items() if count > 1]
    if "" in names and "(empty)" not in twice:
        twice.append("(empty)")
    if twice:
        raise DataError(f"{table} has columns without a name or of equal names ({', '.join(twice)}); name each column")


def _case(table: Path, number: int, row: Mapping[str, str]) -> Case:
    split = _SPLITS.get(row["split"].casefold())
    if split is None:
        raise DataError(f"{table} line {number}: split is '{row['split']}', expected one of {', '.join(_SPLITS)}")
    if not row["image"]:
        raise DataError(f"{table} line {number}: the image cell is empty; enter a file")
    image, masks = _file(table, row["image"]), _masks(table, row["mask"])
    if len(set(masks)) < len(masks) or image in masks:
        raise DataError(f"{table} line {number}: a file is listed twice among image and masks; correct it")
    if masks and split == "unlabelled":
        raise DataError(f"{table} line {number}: an unlabelled image has a mask; remove it, or choose another split")
    columns = {name: cell for name, cell in row.items() if name not in COLUMNS}
    return Case(stem_of(image), image, masks, _patient(row["patient"]), split, columns)


def _patient(cell: str) -> str | None:
    return cell if cell and cell.casefold() not in _NO_PATIENT else None


def _masks(table: Path, cell: str) -> tuple[Path, ...]:
    if not cell or (whole := _file(table, cell)).is_file():  # a name may hold a semicolon
        return (whole,) if cell else ()
    return tuple(_file(table, part.strip()) for part in cell.split(";") if part.strip())


def _file(table: Path, name: str) -> Path:
    """Return the file that a cell names, literally or with Windows' separators."""
    path = table.parent / name
    return table.parent / name.replace("\\", "/") if "\\" in name and not path.exists() else path


def _check_files(table: Path, numbers: Sequence[int], cases: Sequence[Case]) -> None:
    absent = [
        f"line {number}: {'mask' if place else 'image'} {file}"
        for number, case in zip(numbers, cases, strict=True)
        for place, file in enumerate((case.image, *case.masks))
        if not file.is_file()
    ]
    if absent:
        open_choice = any(_UNDECIDED in line for line in absent)
        hint = "; of masks between |, keep one, or put ; between those to be united" if open_choice else ""
        raise MissingFileError(
            f"{table} names {plural(len(absent), 'missing file')}: {first_of(absent, _SHOWN)}{hint}; "
            "paths are relative to the table"
        )
    lines: dict[str, int] = {}
    for number, case in zip(numbers, cases, strict=True):
        real = os.path.realpath(case.image)
        if real in lines:
            raise DataError(f"{table} lines {lines[real]} and {number} name the same image {case.image}; remove one")
        lines[real] = number
    owners: dict[str, tuple[int, Case]] = {}
    for number, case in zip(numbers, cases, strict=True):
        for mask in case.masks:
            first, owner = owners.setdefault(os.path.realpath(mask), (number, case))
            known = case.patient and owner.patient and patient_key(case.patient) == patient_key(owner.patient)
            if owner is not case and not known:
                raise DataError(
                    f"{table} lines {first} and {number} name the same mask {mask}, not the same patient; give each "
                    "image its own"
                )


def _relative(file: Path, target: Path) -> str:
    name = Path(os.path.relpath(file.absolute(), target.absolute().parent)).as_posix()
    if unicode_text(name) != name:
        raise DataError(f"{file} has a name that is not UTF-8, which a manifest cannot hold; rename it")
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name  # else a spreadsheet takes it for a formula
