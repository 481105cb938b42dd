"""Cases are read, ranked and drawn; damaged files are named."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.reporting.given import one_run

from trustseg.errors import DataError
from trustseg.reporting.gallery import Case, Tile, draw_case, draw_decomposition, load_gallery
from trustseg.reporting.results import load_results

Arrays = dict[str, NDArray[Any]]
Stored = tuple[Path, Arrays]
LAYERS = ["image", "mask", "probability", "uncertainty", "adversarial"]
LAYERS += ["adversarial_probability", "adversarial_uncertainty"]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """The gallery file of a study of one run, and what it holds."""
    path = next(one_run(tmp_path / "study", gallery=True, stress=True).glob("cells/*")) / "gallery.npz"
    with np.load(path) as file:
        return path, {name: file[name] for name in file.files}


def cases_of(path: Path, **changed: NDArray[Any]) -> list[Case]:
    """Return the cases of a study of one run after its gallery was written anew."""
    np.savez(path, **changed)  # type: ignore[arg-type]  # the stub takes the arrays for the option allow_pickle
    return load_gallery(load_results(path.parents[2]))


def test_worst_median_and_best_with_every_variant(study: Path) -> None:
    results = load_results(study)
    cases = load_gallery(results)
    assert [case.rank for case in cases] == ["worst", "median", "best"]
    dice = [np.mean([tile.adversarial_dice for tile in case.tiles]) for case in cases]
    assert dice == sorted(dice)
    variants = [tile.variant for tile in cases[0].tiles]
    assert variants == [variant for variant in results.variants if variant in variants]
    assert cases[0].tiles[0].condition == "PGD 4/255"
    assert all(draw_decomposition(case) is None for case in cases)


@pytest.mark.parametrize("content", [b"", b"not a zip file"])
def test_broken_gallery_is_named(tmp_path: Path, content: bytes) -> None:
    folder = one_run(tmp_path / "study")
    (next(folder.glob("cells/*")) / "gallery.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*gallery\.npz"):
        load_gallery(load_results(folder))


def test_whole_grey_levels_and_one_attack_for_all_cases(stored: Stored) -> None:
    """The evaluation keeps images as grey levels and names the attack once."""
    path, arrays = stored
    whole = (arrays["image"].astype(np.float32) * 255).astype(np.uint8)
    tile = cases_of(path, **arrays | {"image": whole, "condition": np.array("pgd"), "eps": np.array(4 / 255)})[0].tiles[
        0
    ]
    assert tile.condition == "PGD 4/255"
    assert 0.5 < tile.layers["image"].max() <= 1


@pytest.mark.parametrize(("height", "width", "value"), [(5, 9, 0.0), (9, 5, 1.0), (1, 1, 1.0), (7, 7, float("nan"))])
def test_odd_cases_are_drawn(height: int, width: int, value: float) -> None:
    """Empty and full masks, one pixel, odd and non-square sizes, an undefined Dice."""
    layers = {name: np.full((height, width), np.nan_to_num(value), np.float32) for name in LAYERS}
    tile = Tile("a, $b$", "PGD 4/255", "entropy", layers, value, value)
    case = Case("x", "worst", (tile, tile))
    wide, narrow = (Image.open(io.BytesIO(draw_case(case, dpi=30, narrow=narrow))).size for narrow in (False, True))
    assert narrow[0] <= wide[0] / 2
    assert narrow[1] > 1.5 * wide[1]


def test_the_worst_case_has_foreground(stored: Stored) -> None:
    """An image without foreground has a Dice of 0 once a pixel is predicted; it is shown only if nothing else is."""
    path, arrays = stored
    mask = np.ones_like(arrays["mask"])
    mask[0] = 0
    arrays |= {"adversarial_dice": np.linspace(0.0, 0.9, len(mask))}
    assert cases_of(path, **arrays | {"mask": mask})[0].name == str(arrays["name"][1])
    assert cases_of(path, **arrays | {"mask": 0 * mask})[0].name == str(arrays["name"][0])


def test_a_twentieth_of_the_clean_pixels_is_left_to_a_human(stored: Stored) -> None:
    path, arrays = stored
    clean = arrays["uncertainty"].astype(np.float32)
    tile = cases_of(path, **arrays)[0].tiles[0]
    assert 0.03 < (clean > tile.abstained_above).mean() <= 0.05
    assert tile.abstained_above in clean


def test_abstained_pixels_are_yellow() -> None:
    layers = {name: np.zeros((20, 20), np.float32) for name in LAYERS}
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


def test_the_parts_of_the_variance_are_drawn_where_they_were_kept(stored: Stored) -> None:
    path, arrays = stored
    for prefix in ("", "adversarial_"):
        total = arrays[f"{prefix}uncertainty"]
        parts = {"variance": total, "aleatoric_variance": total * 0.9, "epistemic_variance": total * 0.1}
        arrays |= {prefix + name: values for name, values in parts.items()}
    cases = cases_of(path, **arrays)
    for case in cases:
        (tile,) = case.tiles
        assert tile.decomposition is not None
        np.testing.assert_allclose(tile.decomposition[0], tile.decomposition[1:3].sum(0), atol=1e-3)
        np.testing.assert_allclose(tile.decomposition[3], tile.layers["adversarial_uncertainty"])
    picture = draw_decomposition(cases[0], dpi=40)
    assert picture is not None
    assert Image.open(io.BytesIO(picture)).size[0] > 300


def test_each_case_tells_whether_a_human_would_see_it(stored: Stored) -> None:
    results = load_results(stored[0].parents[2])
    case = load_gallery(results)[0]
    (tile,) = case.tiles
    assert [answer for _, answer in tile.captions()] == ["no policy", "no policy"]
    sent = (pl.col("image") == case.name) & (pl.col("condition") == "pgd")
    decided = {tile.variant: results.records.with_columns(review=sent)}
    (tile,) = load_gallery(results, decided)[0].tiles
    assert tile.captions() == [(tile.dice, "no"), (tile.adversarial_dice, "yes")]
