"""``trustseg predict --watch``: files are predicted as they arrive in a folder."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trustseg.cli.display import note, say

if TYPE_CHECKING:
    from trustseg.data.intensity import IntensityScale
    from trustseg.dicom_output import SegmentMeaning

__all__ = ["watch_inbox"]


def watch_inbox(
    run: Callable[..., Path],
    inbox: Path,
    outbox: Path,
    *,
    scale: "IntensityScale | None",
    dicom: "SegmentMeaning | None",
    once: bool,
    interval: float,
) -> list[str]:
    """Predict the files of an inbox until Ctrl-C or SIGTERM, and return what was done, in lines.

    ``run`` predicts files into a folder: the outbox gets one for each file. Without the intensity scale of the model's
    training, images of more than 8 bits are refused, as what is white in them cannot depend on when they arrive.
    """
    from trustseg.data.intensity import IntensityScale
    from trustseg.inbox import final_folder, stop_on_signals, watch
    from trustseg.tables import read_csv

    told: set[str] = set()

    def note_once(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            note(sentence)

    arrived = _scores_in(outbox)
    last: list[tuple[Path, float]] = []

    def handle(file: Path, folder: Path) -> str:
        started = time.monotonic()
        if last and last[0][0].is_dir():  # a file that changed meanwhile has no result, and is handled again
            arrived.append(last[0][1])
        table = run([file], folder, scale=scale or IntensityScale(), dicom=dicom, arrived=arrived, note=note_once)
        row = read_csv(table, as_text=True).row(0, named=True)
        last[:] = [(final_folder(folder), float(row["uncertainty"]))]
        return f"{_words(row)}, {time.monotonic() - started:.1f} s"

    _try(run)
    with stop_on_signals() as stop:
        say(f"watching '{inbox}', results in '{outbox}'" + ("" if once else "; Ctrl-C stops"), err=True)
        counts = watch(inbox, outbox, handle, interval=interval, once=once, stop=stop, report=say)
    left = f", {counts.left:,} left" if counts.left else ""
    return [f"predicted: {counts.done:,}, quarantined: {counts.quarantined:,}{left}; results: {outbox}"]


def _try(run: Callable[..., Path]) -> None:
    """Predict a black image, so that a fault of the model or the settings is told before any file is blamed for it."""
    from PIL import Image

    from trustseg.data.intensity import IntensityScale

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "black.png"
        Image.new("L", (32, 32)).save(file)
        run([file], Path(folder) / "out", scale=IntensityScale(), dicom=None, note=None)


def _scores_in(outbox: Path) -> list[float]:
    """Return the scores of the images that an outbox holds, in the order in which they were handled."""
    from trustseg.errors import DataError
    from trustseg.prediction_folder import TABLE
    from trustseg.tables import read_csv

    scores = []
    for table in sorted(outbox.glob(f"*/{TABLE}"), key=lambda table: (table.stat().st_mtime_ns, table)):
        try:
            scores.append(float(read_csv(table, as_text=True)["uncertainty"][0]))
        except Exception as error:
            raise DataError(
                f"'{table}' is not a table of predictions; delete its folder, and its file is predicted again"
            ) from error
    return scores


def _words(row: Mapping[str, str]) -> str:
    """Return what a row of a table of predictions says of its image, in a few words."""
    from trustseg.deferral import NONE, VOID

    review = {"yes": "review, ", "no": "no review, "}.get(row.get("review", ""), "")
    guarantee = f", guarantee {found}" if (found := row.get("guarantee")) in (VOID, NONE, "in doubt") else ""
    return f"{review}uncertainty {float(row['uncertainty']):.4g}{guarantee}"
