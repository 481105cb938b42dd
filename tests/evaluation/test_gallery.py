from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.packs import pack_of, small_segmenter

from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.data import Pack
from trustseg.evaluation import write_gallery
from trustseg.evaluation.gallery import DECOMPOSITION, gallery_rows

ROWS = np.arange(7, dtype=np.int64)
CONFIG = EvaluationConfig(
    attacks=(AttackConfig(name="fgsm", eps=(0.5,)), AttackConfig(name="pgd", eps=(0.0, 0.01, 0.02), steps=2)), gallery=4
)


def test_rows_are_spread_over_lesion_size() -> None:
    pack = pack_of()
    areas = pack.masks.sum(axis=(1, 2, 3))
    chosen = gallery_rows(pack, ROWS, 3)
    assert areas[chosen].tolist() == [areas[ROWS].min(), np.sort(areas[ROWS])[3], areas[ROWS].max()]
    assert [len(set(gallery_rows(pack, ROWS, count).tolist())) for count in (0, 1, 6, 7, 100)] == [0, 1, 6, 7, 7]


def test_rows_do_not_depend_on_the_order_of_candidates_even_with_ties() -> None:
    pack = pack_of()
    tied = Pack(
        pack.images, pack.masks, pack.index.with_columns(foreground=9), pack.size, pack.channels, "folder", pack.digest
    )
    for one in (pack, tied):
        assert gallery_rows(one, ROWS, 4).tolist() == gallery_rows(one, ROWS[::-1], 4).tolist()


@pytest.mark.parametrize(("head", "channels"), [("beta", 1), ("bernoulli", 3)])
def test_pictures_have_the_shapes_and_values_a_report_needs(tmp_path: Path, head: str, channels: int) -> None:
    pack = pack_of(channels=3 if channels == 3 else 1)
    path = tmp_path / "gallery.npz"
    write_gallery(small_segmenter(head, channels=channels), pack, ROWS, CONFIG, path, eps=0.018, measure="entropy")
    with np.load(path, allow_pickle=False) as kept:
        content = dict(kept)
    chosen = gallery_rows(pack, ROWS, 4)
    assert content["name"].tolist() == [f"image{row}" for row in chosen]
    assert (content["condition"], content["eps"], content["measure"]) == ("pgd2", 0.02, "entropy")
    for name in (
        *("image", "mask", "probability", "uncertainty", "adversarial"),
        *("adversarial_probability", "adversarial_uncertainty"),
    ):
        assert content[name].shape == (4, 32, 32), name
        assert np.isfinite(content[name]).all(), name
    grey = pack.images[chosen].astype(float).mean(axis=1)
    assert content["image"].dtype == np.uint8
    np.testing.assert_array_equal(content["image"], np.rint(grey))
    np.testing.assert_array_equal(content["mask"], pack.masks[chosen][:, 0])
    change = np.abs(content["adversarial"].astype(float) - grey / 255)
    assert 0 < change.max() <= 0.02 + 1e-3  # kept in half precision
    predicted = content["probability"] > 0.5
    overlap = (
        2 * (predicted & (content["mask"] == 1)).sum((1, 2)) / (predicted.sum((1, 2)) + content["mask"].sum((1, 2)))
    )
    np.testing.assert_allclose(content["dice"], overlap, atol=0.02)  # p near 1/2 may round to it
    assert [file.name for file in tmp_path.iterdir()] == ["gallery.npz"]
    kept_parts = [
        prefix + name for prefix in ("", "adversarial_") for name in DECOMPOSITION if prefix + name in content
    ]
    assert len(kept_parts) == (6 if head == "beta" else 0)
    for prefix in ("", "adversarial_") if kept_parts else ():
        total, aleatoric, epistemic = (content[prefix + name].astype(float) for name in DECOMPOSITION)
        np.testing.assert_allclose(total, aleatoric + epistemic, atol=1e-3)
        np.testing.assert_allclose(
            total, content[f"{prefix}probability"] * (1.0 - content[f"{prefix}probability"]), atol=2e-3
        )


def test_the_same_call_gives_the_same_pictures(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_gallery(small_segmenter(), pack_of(), ROWS, CONFIG, tmp_path / name, eps=0.02, measure="vacuity", seed=5)
    with np.load(tmp_path / "a.npz") as one, np.load(tmp_path / "b.npz") as two:
        assert all(np.array_equal(one[name], two[name]) for name in one.files)


@pytest.mark.parametrize(
    "change",
    [{"gallery": 0}, {"attacks": ()}, {"attacks": (AttackConfig(name="fgsm", eps=(0.0,)),)}],
)
def test_nothing_to_show_writes_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    config = CONFIG.model_copy(update=change)
    write_gallery(small_segmenter(), pack_of(), ROWS, config, tmp_path / "gallery.npz", eps=0.02, measure="entropy")
    assert list(tmp_path.iterdir()) == []
