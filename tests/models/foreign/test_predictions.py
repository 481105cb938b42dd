"""Predictions in every form are the same numbers; folders that cannot be trusted are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tests.models.foreign import networks
from tests.models.foreign.networks import Red

from trustseg.errors import DataError, MissingFileError, QuestionError
from trustseg.models.foreign import open_predictions

Map = npt.NDArray[np.float32]
NAMES = ["case_1", "case_2", "case_3"]


def probabilities() -> dict[str, Map]:
    with torch.no_grad():
        found = torch.sigmoid(Red()(networks.images(3)))[:, 0].numpy()
    return dict(zip(NAMES, found, strict=True))


def png8(values: Map, path: Path) -> None:
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(path.with_suffix(".png"))


def png16(values: Map, path: Path) -> None:
    Image.fromarray(np.rint(values * 65535).astype(np.uint16)).save(path.with_suffix(".png"))


def npy(values: Map, path: Path) -> None:
    np.save(path.with_suffix(".npy"), values)


def nnunet(values: Map, path: Path) -> None:
    np.savez_compressed(path.with_suffix(".npz"), probabilities=np.stack([1 - values, values])[:, None])


@pytest.mark.parametrize(("write", "error"), [(png8, 0.5 / 255), (png16, 0.5 / 65535), (npy, 0.0), (nnunet, 0.0)])
def test_probability_maps_are_read_alike(write: Callable[[Map, Path], None], error: float, tmp_path: Path) -> None:
    expected = probabilities()
    for name, values in expected.items():
        write(values, tmp_path / name)
    found = open_predictions(tmp_path)
    assert list(found) == NAMES
    assert found.kind == "probability"
    for name in NAMES:
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected[name], atol=error + 1e-6, rtol=0)
    assert "32x32" in " ".join(found.describe())
    assert str(tmp_path.parent) not in " ".join(found.describe())


@pytest.mark.parametrize(("white", "kind"), [(1, np.uint8), (255, np.uint8), (65535, np.uint16)])
def test_masks_are_read_alike(white: int, kind: type[np.uint8] | type[np.uint16], tmp_path: Path) -> None:
    expected = {name: values > 0.5 for name, values in probabilities().items()}
    expected["empty"] = np.zeros((32, 32), dtype=bool)
    for name, values in expected.items():
        Image.fromarray((values * white).astype(kind)).save(tmp_path / f"{name}.png")
    found = open_predictions(tmp_path)
    assert found.kind == "mask"
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_an_empty_mask_among_probability_maps_is_empty(tmp_path: Path) -> None:
    png8(probabilities()["case_1"], tmp_path / "a")
    png8(np.zeros((32, 32), dtype=np.float32), tmp_path / "b")
    png8(np.full((32, 32), 1 / 255, dtype=np.float32), tmp_path / "c")
    found = open_predictions(tmp_path)
    assert found.kind == "probability"
    assert float(found["b"].max()) == 0
    assert float(found["c"].max()) == pytest.approx(1 / 255)  # not a mask of ones


def test_labels_of_several_classes_are_asked_for(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    Image.fromarray(labels).save(tmp_path / "a.png")
    Image.fromarray(labels * 0).save(tmp_path / "b.png")
    with pytest.raises(QuestionError, match="class_index"):
        open_predictions(tmp_path)
    found = open_predictions(tmp_path, class_index=3)
    assert found.kind == "mask"
    np.testing.assert_array_equal(found["a"], labels == 3)
    assert not found["b"].any()
    with pytest.raises(DataError, match="label 9"):
        open_predictions(tmp_path, class_index=9)


def test_channels_of_several_classes_are_asked_for(tmp_path: Path) -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1).astype(np.float32)
    np.savez(tmp_path / "a.npz", probabilities=values)
    with pytest.raises(QuestionError, match="class_index"):
        open_predictions(tmp_path)
    np.testing.assert_array_equal(open_predictions(tmp_path, class_index=0)["a"], values[0])


def test_what_a_class_says_of_the_files_is_used_or_refused(tmp_path: Path) -> None:
    hard, soft = np.eye(4, dtype=np.uint8), np.full((4, 4), 0.5)
    np.save(tmp_path / "a.npy", hard)
    np.testing.assert_array_equal(open_predictions(tmp_path, class_index=1)["a"], hard)
    np.testing.assert_array_equal(open_predictions(tmp_path, class_index=0)["a"], 1 - hard)
    np.save(tmp_path / "a.npy", soft)
    with pytest.raises(DataError, match="class 1"):
        open_predictions(tmp_path, class_index=1)
    np.save(tmp_path / "b.npy", np.stack([1 - soft, soft]))
    with pytest.raises(DataError, match=r"a\.npy' 1 and .*b\.npy' 2"):
        open_predictions(tmp_path)
    (tmp_path / "a.npy").unlink()
    np.save(tmp_path / "b.npy", np.stack([1 - soft, soft], axis=-1))
    with pytest.raises(DataError, match=r"b\.npy.*classes last"):
        open_predictions(tmp_path)


@pytest.mark.parametrize(
    "values",
    [np.full((4, 4), 1.5), np.full((4, 4), -0.1), np.full((4, 4), np.nan), np.zeros(4), np.zeros((0, 4))],
    ids=["above one", "below zero", "nan", "one axis", "no pixel"],
)
def test_numbers_that_are_no_probabilities_are_refused(values: npt.NDArray[np.float64], tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", values)
    with pytest.raises(DataError, match=r"odd\.npy"):
        open_predictions(tmp_path)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"pickled\.npy"):
        open_predictions(tmp_path)
    (tmp_path / "pickled.npy").unlink()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour\.png"):
        open_predictions(tmp_path)
    (tmp_path / "colour.png").unlink()
    np.savez(tmp_path / "two.npz", first=np.zeros((2, 2)), second=np.zeros((2, 2)))
    with pytest.raises(DataError, match="first, second"):
        open_predictions(tmp_path)


def test_masks_beside_probabilities_and_other_files_are_named(tmp_path: Path) -> None:
    for name, values in probabilities().items():
        nnunet(values, tmp_path / name)
        Image.fromarray((values > 0.5).astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "plans.json").write_text("{}")
    found = open_predictions(tmp_path)
    assert found.kind == "probability"
    assert [part for part in ("3 masks", "plans.json", "class 1") if part not in " ".join(found.describe())] == []
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "lossy.jpg")
    with pytest.raises(DataError, match=r"lossy\.jpg"):
        open_predictions(tmp_path)


def test_empty_and_absent_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no predictions"):
        open_predictions(tmp_path)
    with pytest.raises(MissingFileError, match="absent"):
        open_predictions(tmp_path / "absent")


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    values = probabilities()["case_1"]
    png8(values, tmp_path / "a")
    npy(values, tmp_path / "a")
    with pytest.raises(DataError, match=r"a\.npy.*a\.png"):
        open_predictions(tmp_path)


def test_names_pair_or_are_refused(tmp_path: Path) -> None:
    for name, values in probabilities().items():
        png8(values, tmp_path / f"{name}_pred")
    found = open_predictions(tmp_path)
    assert list(found.paired(NAMES)) == NAMES
    assert found.paired(NAMES).describe()[-1].endswith("'case_1_pred.png' is taken to be of 'case_1'.")
    assert list(found.paired([f"{name}_pred" for name in NAMES])) == [f"{name}_pred" for name in NAMES]
    assert list(found.paired([*NAMES, "case_9"])) == NAMES  # of a split without it
    with pytest.raises(DataError, match="case_9"):
        found.paired(["case_9"])
    with pytest.raises(DataError, match="case_3_pred"):
        found.paired(NAMES[:2])
