"""``trustseg defer masks``: fitted on what the model was validated on, measured on its test images, used by predict."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.cli.conftest import Command, Outcome, one_sentence

from trustseg.data import open_dataset, split_cases
from trustseg.deferral import load_control
from trustseg.models import Segmenter

FILMS = "films/Test Set/Images"


@pytest.fixture
def masks(command: Command, untrained: Path) -> Callable[..., Outcome]:
    """Run ``trustseg defer masks`` on an untrained model of fold 0 of some phantoms."""
    return lambda *arguments: command("defer", "masks", "run/model", *arguments)


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


def test_it_is_fitted_on_validation_images_and_measured_on_test(masks: Callable[..., Outcome]) -> None:
    found = masks("--at-most", "0.5")
    assert found.code == 0
    control = load_control(Path("run/control.json"))
    assert control.statement in found.out
    assert found.out.endswith("control: run/control.json\n")
    splits = split_cases(open_dataset("films", size=32).index)
    missed = missed_by_patients(splits.validation, control.threshold)
    assert (sum(missed) + 1) / (len(missed) + 1) <= 0.5
    share = {
        words: np.mean(missed_by_patients(splits.test, threshold))
        for words, threshold in (("usual", 0.5), ("fitted", control.threshold))
    }
    for line in found.out.splitlines():
        if line.startswith(("usual", "fitted")):
            assert f" {share.pop(line.split(',')[0]):.3f} [" in line
    assert share == {}


def test_predict_draws_its_masks_at_the_threshold(masks: Callable[..., Outcome], command: Command) -> None:
    assert masks("--at-most", "0.4", "-o", "mine.json").code == 0
    found = command("predict", "run/model", FILMS, "-o", "careful", "--control", "mine.json")
    assert found.code == 0
    assert load_control(Path("mine.json")).statement in found.out
    assert "void" in found.out
    assert command("predict", "run/model", FILMS, "-o", "usual").code == 0
    sizes = {
        folder: sum(int(np.count_nonzero(np.asarray(Image.open(file)))) for file in Path(folder, "masks").iterdir())
        for folder in ("careful", "usual")
    }
    assert (sizes["careful"] > sizes["usual"]) == (load_control(Path("mine.json")).threshold <= 0.5)
    assert sizes["careful"] != sizes["usual"]


def test_what_it_refuses(masks: Callable[..., Outcome], command: Command) -> None:
    few = masks("--at-most", "0.01")
    assert few.code == 2
    assert "at least 99 are needed to bound the false-negative rate by 0.01" in one_sentence(few)
    assert "at_most is 2" in one_sentence(masks("--at-most", "2"))
    assert not Path("run/control.json").exists()
    assert masks("--at-most", "0.5").code == 0
    content = json.loads(Path("run/control.json").read_text())
    for changed, words in (
        ({"model": "of another"}, "the control was fitted"),
        ({"threshold": 3.0}, "expected numbers in [0, 1]"),
        ({"threshold": None}, "is not a false-negative control"),
    ):
        Path("other.json").write_text(json.dumps(content | changed))
        found = command("predict", "run/model", FILMS, "-o", "refused", "--control", "other.json")
        assert found.code == 2
        assert words in one_sentence(found)
        assert not Path("refused").exists()
    for settings in (["data.fold=1"], ["data.fold=2"]):
        assert "the model was trained or validated on" in one_sentence(masks("-o", "unfit.json", *settings))
        assert not Path("unfit.json").exists()
    (Path("run/model") / "splits.json").unlink()
    assert "no splits.json in 'run/model'" in one_sentence(masks())
