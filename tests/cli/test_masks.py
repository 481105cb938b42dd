"""``trustseg defer masks`` and ``defer area``: fitted on validation images, tried on test images, used by predict."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.cli.conftest import Command, done, refusal

from trustseg.cli.masks import _print_control
from trustseg.data import open_dataset, split_cases
from trustseg.deferral import FalseNegativeControl, load_area_interval, load_control
from trustseg.models import Segmenter

FILMS = "films/Test Set/Images"


def missed_by_patients(rows: NDArray[np.int64], threshold: float) -> list[float]:
    """Return the mean share of the foreground that each patient's masks miss."""
    pack, segmenter = open_dataset("films", size=32), Segmenter.load("run/model")
    with torch.no_grad():
        maps = segmenter.belief(torch.from_numpy(pack.images[rows]).float() / 255).probability.numpy()
    of_patients: dict[str, list[float]] = {}
    for name, p, mask in zip(pack.index["patient"].gather(rows.tolist()), maps, pack.masks[rows], strict=True):
        if mask.any():
            of_patients.setdefault(name, []).append(float((p[mask == 1] < threshold).mean()))
    return [float(np.mean(shares)) for shares in of_patients.values()]


def test_it_is_fitted_on_validation_images_and_measured_on_test(command: Command, untrained: Path) -> None:
    found = done(command("defer", "masks", untrained, "--at-most", "0.5"))
    control = load_control(Path("run/control.json"))
    assert control.statement in found
    assert found.endswith("control: run/control.json\n")
    splits = split_cases(open_dataset("films", size=32).index)
    missed = missed_by_patients(splits.validation, control.threshold)
    assert (sum(missed) + 1) / (len(missed) + 1) <= 0.5
    share = {
        words: np.mean(missed_by_patients(splits.test, threshold))
        for words, threshold in (("usual", 0.5), ("fitted", control.threshold))
    }
    for line in found.splitlines():
        if line.startswith(("usual", "fitted")):
            assert f" {share.pop(line.split(',')[0]):.3f} [" in line
    assert share == {}


def test_images_without_foreground_are_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    control = FalseNegativeControl(threshold=0.3, at_most=0.1, patients=9, images=9, price=1.0)
    maps, masks = [[0.2, 0.4, 0.9, 0.1]] * 3, [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    _print_control(control, {"probabilities": maps, "masks": masks, "patients": "abc"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith(("usual", "fitted"))] == ["0.250", "0.500"]


@pytest.mark.parametrize("adaptive", [False, True])
def test_predict_draws_its_masks_at_the_threshold(command: Command, untrained: Path, adaptive: bool) -> None:
    done(command("defer", "masks", untrained, "--at-most", "0.4", "-o", "mine.json", *["--adaptive"] * adaptive))
    control = load_control(Path("mine.json"))
    assert control.adaptive == adaptive
    found = done(command("predict", untrained, FILMS, "-o", "careful", "--control", "mine.json"))
    assert control.statement in found
    assert "void" in found
    done(command("predict", untrained, FILMS, "-o", "usual"))
    careful, usual = (
        sum(int(np.count_nonzero(np.asarray(Image.open(file)))) for file in Path(folder, "masks").iterdir())
        for folder in ("careful", "usual")
    )
    assert careful != usual
    assert (careful > usual) == (control.threshold <= 0.5)
    content = json.loads(Path("mine.json").read_text())
    for edit, words in (
        ({"model": "of another"}, "the control was fitted"),
        ({"threshold": 3.0}, "expected numbers in [0, 1]"),
        ({"threshold": None}, "is not a false-negative control"),
    ):
        Path("other.json").write_text(json.dumps(content | edit))
        assert words in refusal(command("predict", untrained, FILMS, "-o", "refused", "--control", "other.json"))
        assert not Path("refused").exists()


def test_an_interval_of_areas_is_fitted_tried_and_applied(command: Command, untrained: Path) -> None:
    found = done(command("defer", "area", untrained, "--at-most", "0.5"))
    interval = load_area_interval(Path("run/area.json"))
    assert interval.statement in found
    assert "patients with all areas inside" in found
    assert found.endswith("interval: run/area.json\n")
    found = done(command("predict", untrained, FILMS, "-o", "predictions", "--area", "run/area.json"))
    assert interval.statement in found
    table = pl.read_csv("predictions/predictions.csv")
    assert (table["fraction_low"] <= table["fraction_high"]).all()
    Path("run/area.json").write_text("{}")
    refused = refusal(command("predict", untrained, FILMS, "-o", "refused", "--area", "run/area.json"))
    assert "holds no interval of areas" in refused
