"""Maps of the variance and its parts."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tests.reporting.fake_results import write_study

from trustseg.reporting.gallery import draw_decomposition, load_gallery
from trustseg.reporting.results import load_results


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
    folder = write_study(tmp_path / "study", regimes=("none",), seeds=1, images=4)
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
