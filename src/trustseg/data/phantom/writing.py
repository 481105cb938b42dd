"""Sets of phantoms on disk, in the layout of QaTa-COV19-v2."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

import trustseg
from trustseg.data.phantom.generate import check_size, phantom, session_count
from trustseg.errors import DataError, RunError
from trustseg.files import make_folder
from trustseg.system import available_cores

__all__ = ["write_phantoms"]

_SPLITS: Final = ("Train Set", "Test Set", "Control_Group/Control_Group_I")
_CONTROL: Final = 2
_SMALL: Final = 64
_CHUNK: Final = 8


class _Patient(NamedTuple):
    split: int
    number: int
    images: int


def write_phantoms(
    path: str | Path,
    *,
    train: int = 160,
    test: int = 40,
    control: int = 20,
    size: int = 128,
    seed: int = 0,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write generated chest X-rays with reference masks and ambiguity maps, and return their folder.

    The layout is that of QaTa-COV19-v2, with one more folder next to the masks::

        Train Set/Images/NAME.png           8-bit grey, size x size
        Train Set/Ground-truths/mask_NAME.png          0 and 255
        Train Set/Ambiguity/ambiguity_NAME.png         255 times the probability that a reader marks the pixel
        Test Set/...                                   the same
        Control_Group/Control_Group_I/NAME.png         no infection, no mask
        phantoms.json                                  seed, size, counts, version

    A patient has one to four images and stands on one side only. Each image depends on seed, patient and session alone:
    neither the counts nor ``jobs`` change it, and a larger set begins with the smaller one.

    Args:
        path: folder to make; it must not exist or be empty. It appears under this name only when it is complete.
        train, test, control: images of each side, >= 0; controls have no infection.
        size: pixels along an axis, 32 to 1024.
        seed: seed of the whole set, >= 0.
        jobs: processes, >= 1; by default one for each usable core, and one for fewer than 64 images.
        progress: called with the number of images written so far, now and then, and with the total at the end.
    """
    target, counts = Path(path), (train, test, control)
    _check(target, counts, size=size, seed=seed, jobs=jobs)
    patients = [patient for split, count in enumerate(counts) for patient in _patients(seed, split, count)]
    if jobs is None:
        jobs = available_cores() if sum(counts) >= _SMALL else 1
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        make_folder(partial.parent)
        partial.mkdir()
        _write_all(partial, patients, size=size, seed=seed, jobs=jobs, progress=progress or (lambda done: None))
        facts = {"kind": "trustseg phantoms", "version": trustseg.__version__, "seed": seed, "size": size}
        facts |= {"train": train, "test": test, "control": control}
        (partial / "phantoms.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        partial.rename(target)
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error.strerror or error}); choose another path") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _check(target: Path, counts: tuple[int, int, int], *, size: int, seed: int, jobs: int | None) -> None:
    check_size(size)
    for name, value in zip(("train", "test", "control"), counts, strict=True):
        if value < 0:
            raise DataError(f"{name} is {value} images, expected 0 or more")
    if sum(counts) == 0:
        raise DataError("train, test and control are all 0, expected at least one image")
    if seed < 0:
        raise DataError(f"seed is {seed}, expected a whole number of at least 0")
    if jobs is not None and jobs < 1:
        raise DataError(f"jobs is {jobs}, expected at least 1 process; change jobs or leave it out")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        what = "not empty" if target.is_dir() else "a file"
        raise DataError(f"{target} is {what}, expected a new or empty folder; remove it or choose another path")


def _patients(seed: int, split: int, count: int) -> Iterator[_Patient]:
    """Yield patients of a split until they have ``count`` images; the numbers of splits interleave, none is shared."""
    number = split + 1
    while count > 0:
        images = min(session_count(seed, number), count)
        yield _Patient(split, number, images)
        count -= images
        number += len(_SPLITS)


def _write_all(
    root: Path, patients: list[_Patient], *, size: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> None:
    """Write the images of all patients, here or in fresh processes (never forked ones, which would inherit threads)."""
    done = 0
    chunks = [patients[start : start + _CHUNK] for start in range(0, len(patients), _CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            done += _write_patients(root, chunk, size, seed)
            progress(done)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=context)
    try:
        for future in as_completed([pool.submit(_write_patients, root, chunk, size, seed) for chunk in chunks]):
            done += future.result()
            progress(done)
    except BrokenProcessPool as error:
        raise RunError("a process that writes phantoms died; pass jobs=1, or guard a script by its __name__") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_patients(root: Path, patients: Sequence[_Patient], size: int, seed: int) -> int:
    for patient in patients:
        folder = root / _SPLITS[patient.split]
        for session in range(1, patient.images + 1):
            made = phantom(seed, patient.number, session, size=size, infected=patient.split != _CONTROL)
            image = 4 * (patient.number - 1) + session
            name = f"sub-S{patient.number:05d}_ses-E{image:05d}_run-1_bp-chest_vp-{made.view}_dx.png"
            written = {name: made.image}
            if patient.split != _CONTROL:
                mask = made.mask.astype(np.uint8) * np.uint8(255)
                written = {f"Images/{name}": made.image, f"Ground-truths/mask_{name}": mask}
                written[f"Ambiguity/ambiguity_{name}"] = made.ambiguity
            for file, pixels in written.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / file, compress_level=1)
    return sum(patient.images for patient in patients)
