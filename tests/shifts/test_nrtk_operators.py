"""Operators of nrtk: with nrtk where it is installed, else with a stand-in of its shape."""

import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.shifts.films import films, seeded

from trustseg.config import EvaluationConfig, RunConfig
from trustseg.errors import ConfigError, MissingPackageError, UnknownNameError
from trustseg.evaluation.conditions import conditions_of
from trustseg.shifts import nrtk_shift, shift
from trustseg.shifts.nrtk_operators import _MODULES


class GaussianNoisePerturber:
    """An operator with a seed, as of nrtk."""

    def __init__(self, *, seed: int | None = None, is_static: bool = False, var: float = 0.05) -> None:
        if var < 0:
            raise ValueError(f"invalid var ({var}). Must be >= 0.0")
        self.seed, self.var = seed, var

    def __call__(self, *, image: NDArray[np.uint8], boxes: None = None) -> tuple[NDArray[np.uint8], None]:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        noise = np.random.default_rng(self.seed).normal(size=image.shape) * self.var**0.5
        return (255 * np.clip(image / 255 + noise, 0, 1)).round().astype(np.uint8), boxes


@pytest.fixture(params=["stand-in", pytest.param("nrtk", marks=pytest.mark.oracle)])
def _nrtk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "nrtk":
        pytest.importorskip("nrtk")
        pytest.importorskip("skimage")
        return
    root = "nrtk.impls.perturb_image"
    for name in ("nrtk", "nrtk.impls", root, f"{root}.photometric", *(f"{root}.{module}" for module in _MODULES)):
        made = ModuleType(name)
        vars(made).update(__path__=[], __all__=[])
        monkeypatch.setitem(sys.modules, name, made)
    noise = sys.modules[f"{root}.photometric.noise"]
    vars(noise).update(GaussianNoisePerturber=GaussianNoisePerturber, __all__=["GaussianNoisePerturber", "helper"])


NOISE = "nrtk:GaussianNoisePerturber(var=[0.0004, 0.0016, 0.0049, 0.0121, 0.0256])"


@pytest.mark.usefixtures("_nrtk")
def test_an_operator_is_a_shift() -> None:
    images, masks = films()
    half = torch.full_like(images, 128 / 255)
    for severity, deviation in ((1, 0.02), (3, 0.07)):
        shifted, same = shift(NOISE, half, masks, severity, seeded())
        assert same is masks
        assert (shifted - half).std().item() == pytest.approx(deviation, rel=0.05)
    once, twice = (shift(NOISE, images, masks, 4, seeded())[0] for _ in range(2))
    assert torch.equal(once, twice)
    generator = seeded()
    assert torch.equal(once, torch.cat([shift(NOISE, one[None], masks[:1], 4, generator)[0] for one in images]))
    assert shift(NOISE, images.repeat(1, 3, 1, 1), masks, 4, seeded())[0].shape == (len(images), 3, 128, 128)


@pytest.mark.usefixtures("_nrtk")
def test_an_operator_is_named_in_a_configuration() -> None:
    asked = {"name": "nrtk:GaussianNoisePerturber", "var": [0.1, 0.2, 0.3, 0.4, 0.5]}
    config = RunConfig(evaluation=EvaluationConfig(attacks=(), shifts=[asked, "jpeg"], severities=(3,)))
    names = [one.name for one in conditions_of(config.evaluation)]
    assert names == ["clean", "nrtk_gaussiannoiseperturber_var0p1_0p2_0p3_0p4_0p5_3", "jpeg_3"]


@pytest.mark.usefixtures("_nrtk")
@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("nrtk:GausianNoisePerturber(var=1)", UnknownNameError, "did you mean 'GaussianNoisePerturber'"),
        ("nrtk:RandomCropPerturber", UnknownNameError, "leaves pixels in their place"),
        ("nrtk:WaterDropletPerturber", UnknownNameError, "leaves pixels in their place"),
        ("nrtk:GaussianNoisePerturber(sd=1)", UnknownNameError, "parameter of GaussianNoisePerturber 'sd'"),
        ("nrtk:GaussianNoisePerturber", ConfigError, "five values of a parameter"),
        ("nrtk:GaussianNoisePerturber(var=[1, 2])", ConfigError, "five values of a parameter"),
        ("nrtk:GaussianNoisePerturber(var=[1, 2, 3, -4, 5])", ConfigError, "severity 4: .*invalid var"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_measured(text: str, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        nrtk_shift(text)


@pytest.mark.skipif(find_spec("nrtk") is not None, reason="nrtk is installed")
def test_nrtk_is_asked_for_in_a_sentence() -> None:
    with pytest.raises(MissingPackageError, match=r"pip install 'nrtk\[headless,pillow,skimage\]'"):
        RunConfig(evaluation=EvaluationConfig(attacks=(), shifts=(NOISE,)))
