"""Cases are read, ranked and drawn; damaged files are named."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.reporting.fake_results import write_study

from trustseg.errors import DataError
from trustseg.reporting.gallery import Case, Tile, draw_case, draw_decomposition, load_gallery
from trustseg.reporting.results import load_results


def test_worst_median_and_best_with_every_variant(study: Path) -> None:
    cases = load_gallery(load_results(study))
    assert [case.rank for case in cases] == ["worst", "median", "best"]
    dice = [np.mean([tile.adversarial_dice for tile in case.tiles]) for case in cases]
    assert dice == sorted(dice)
    variants = [tile.variant for tile in cases[0].tiles]
    assert variants == [variant for variant in load_results(study).variants if variant in variants]
    assert cases[0].tiles[0].condition == "PGD 4/255"


@pytest.mark.parametrize("content", [b"", b"not a zip file"])
def test_broken_gallery_is_named(tmp_path: Path, content: bytes) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4)
    path = folder / "cells" / "beta-none-fold0-seed0" / "gallery.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*gallery\.npz"):
        load_gallery(load_results(folder))


def test_whole_grey_levels_and_one_attack_for_all_cases(tmp_path: Path) -> None:
    """The evaluation keeps images as grey levels and names the attack once."""
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4)
    path = folder / "cells" / "beta-none-fold0-seed0" / "gallery.npz"
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    stored["image"] = (stored["image"].astype(np.float32) * 255).astype(np.uint8)
    stored |= {"condition": np.array("pgd"), "eps": np.array(4 / 255)}
    np.savez(path, **stored)
    tile = load_gallery(load_results(folder))[0].tiles[0]
    assert tile.condition == "PGD 4/255"
    assert 0.5 < tile.layers["image"].max() <= 1


@pytest.mark.parametrize(("height", "width", "value"), [(5, 9, 0.0), (9, 5, 1.0), (1, 1, 1.0), (7, 7, float("nan"))])
def test_odd_cases_are_drawn(height: int, width: int, value: float) -> None:
    """Empty and full masks, one pixel, odd and non-square sizes, an undefined Dice."""
    names = ["image", "mask", "probability", "uncertainty", "adversarial"]
    names += ["adversarial_probability", "adversarial_uncertainty"]
    layers = {name: np.full((height, width), np.nan_to_num(value), np.float32) for name in names}
    tile = Tile("a, $b$", "PGD 4/255", "entropy", layers, value, value)
    case = Case("x", "worst", (tile, tile))
    wide, narrow = (Image.open(io.BytesIO(draw_case(case, dpi=30, narrow=narrow))).size for narrow in (False, True))
    assert narrow[0] < wide[0] / 2
    assert narrow[1] > 1.5 * wide[1]


def test_the_worst_case_has_foreground(tmp_path: Path) -> None:
    """An image without foreground has a Dice of 0 once a pixel is predicted; it is shown only if nothing else is."""
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4)
    path = folder / "cells" / "beta-none-fold0-seed0" / "gallery.npz"
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    stored["adversarial_dice"] = np.linspace(0.0, 0.9, len(stored["name"]))
    stored["mask"] = np.ones_like(stored["mask"])
    stored["mask"][0] = 0
    np.savez(path, **stored)
    cases = load_gallery(load_results(folder))
    assert cases[0].name == str(stored["name"][1])
    stored["mask"][:] = 0
    np.savez(path, **stored)
    assert load_gallery(load_results(folder))[0].name == str(stored["name"][0])


def test_a_twentieth_of_the_clean_pixels_is_left_to_a_human(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4)
    with np.load(folder / "cells" / "beta-none-fold0-seed0" / "gallery.npz") as file:
        clean = file["uncertainty"].astype(np.float32)
    tile = load_gallery(load_results(folder))[0].tiles[0]
    assert 0.03 < (clean > tile.abstained_above).mean() <= 0.05
    assert tile.abstained_above in clean


def test_abstained_pixels_are_yellow() -> None:
    names = ["image", "mask", "probability", "uncertainty", "adversarial"]
    names += ["adversarial_probability", "adversarial_uncertainty"]
    layers = {name: np.zeros((20, 20), np.float32) for name in names}
    layers["uncertainty"][:, 10:] = 0.2
    pictures = []
    for threshold in (np.inf, 0.1):
        tile = Tile("a", "PGD 4/255", "entropy", layers, 0.5, 0.5, abstained_above=threshold)
        picture = Image.open(io.BytesIO(draw_case(Case("x", "worst", (tile,)), dpi=60))).convert("RGB")
        pictures.append(np.asarray(picture).astype(int))
    changed = np.abs(pictures[1] - pictures[0]).sum(-1) > 60
    assert changed.any()
    red, green, blue = pictures[1][changed].mean(0)
    assert min(red, green) > 60 > blue


def _with_parts(path: Path, *, epistemic: float) -> None:
    """Add the two parts of the variance to a gallery file."""
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    for prefix in ("", "adversarial_"):
        total = stored[f"{prefix}uncertainty"]
        parts = {
            "variance": total,
            "aleatoric_variance": total * (1 - epistemic),
            "epistemic_variance": total * epistemic,
        }
        stored |= {prefix + name: values for name, values in parts.items()}
    np.savez(path, **stored)


def test_the_parts_of_the_variance_are_drawn_where_they_were_kept(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", selections=("none",), seeds=1, images=4)
    assert all(draw_decomposition(case) is None for case in load_gallery(load_results(folder)))
    _with_parts(folder / "cells" / "beta-none-fold0-seed0" / "gallery.npz", epistemic=0.1)
    cases = load_gallery(load_results(folder))
    for case in cases:
        bernoulli, beta = case.tiles
        assert bernoulli.decomposition is None
        assert beta.decomposition is not None
        np.testing.assert_allclose(beta.decomposition[0], beta.decomposition[1:3].sum(0), atol=1e-3)
        np.testing.assert_allclose(beta.decomposition[3], beta.layers["adversarial_uncertainty"])
    picture = draw_decomposition(cases[0], dpi=40)
    assert picture is not None
    assert Image.open(io.BytesIO(picture)).size[0] > 300


def test_each_case_tells_whether_a_human_would_see_it(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4, stress=True)
    results = load_results(folder)
    (tile,) = load_gallery(results)[0].tiles
    assert [answer for _, answer in tile.captions()] == ["no policy", "no policy"]
    name = load_gallery(results)[0].name
    sent = (pl.col("image") == name) & (pl.col("condition") == "pgd")
    decided = {tile.variant: results.records.with_columns(review=sent)}
    (tile,) = load_gallery(results, decided)[0].tiles
    assert tile.captions() == [(tile.dice, "no"), (tile.adversarial_dice, "yes")]
