"""The bridge to the Adversarial Robustness Toolbox: ART's attacks on our models, and the same attacks of ours."""

import runpy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.art.conftest import EPS, SHAPE, Network, heads, needs_art
from tests.attacks.victims import dice, discs, finder, seeded
from torch import Tensor

from trustseg.attacks import bim, fgsm, mi_fgsm, pgd, r_fgsm
from trustseg.beliefs import Bernoulli
from trustseg.errors import AttackError, UnknownNameError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "art_attack.py"


def test_without_the_toolbox_importing_says_what_to_install() -> None:
    code = "import sys; sys.modules['art'] = None; import trustseg.art"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert "MissingPackageError: the Adversarial Robustness Toolbox is not installed" in result.stderr
    assert "pip install 'trustseg[art]'" in result.stderr


def test_the_page_shows_the_example() -> None:
    page = (ROOT / "docs" / "toolbox.md").read_text(encoding="utf-8")
    (excerpt,) = [block for block in page.split("```")[1::2] if "Segmentation(" in block]
    lines = [line.strip() for line in EXAMPLE.read_text(encoding="utf-8").splitlines()]
    assert [line for line in excerpt.strip().splitlines() if line not in lines] == []


ONCE = [
    ("FastGradientMethod", {"eps": EPS}, partial(fgsm, eps=EPS, objective=objective), objective, 0.0)
    for objective in ("cross_entropy", "margin", "soft_dice", "balanced_masked_cross_entropy")
]
STEPS_OF = {"eps": EPS, "max_iter": 10, "verbose": False}
SAME = [
    *ONCE,
    ("BasicIterativeMethod", STEPS_OF | {"eps_step": 0.125 * EPS}, partial(bim, eps=EPS, steps=10), None, 0.0),
    ("ProjectedGradientDescent", STEPS_OF | {"eps_step": 0.25 * EPS}, partial(pgd, eps=EPS, steps=10), None, 0.0),
    (
        "ProjectedGradientDescent",
        STEPS_OF | {"norm": 2, "eps": 0.5, "eps_step": 0.125},
        partial(pgd, eps=0.5, norm="l2", steps=10, step_size=0.125),
        None,
        1e-6,
    ),
]


@needs_art
@heads
@pytest.mark.parametrize(("name", "options", "ours", "objective", "atol"), SAME)
def test_attacks_are_the_same(
    bridge: ModuleType,
    evasion: ModuleType,
    head: str,
    name: str,
    options: dict[str, Any],
    ours: Callable[..., Tensor],
    objective: str | None,
    atol: float,
) -> None:
    """Bit for bit in L-infinity."""
    images, masks = discs(6, seed=3)
    victim = finder(head, dtype=torch.float32)
    estimator = bridge.Segmentation(victim, input_shape=SHAPE, objective=objective or "cross_entropy")
    theirs = getattr(evasion, name)(estimator, **options).generate(images.numpy(), masks.numpy())
    got = ours(victim, images, masks, keep_best=False).numpy()
    np.testing.assert_allclose(got, theirs, rtol=0, atol=atol)
    assert not np.array_equal(got, images.numpy())


@needs_art
@heads
def test_mi_fgsm_is_the_same(bridge: ModuleType, evasion: ModuleType, head: str) -> None:
    images, masks = discs(6, seed=3)
    victim = finder(head, dtype=torch.float32)
    attack = evasion.MomentumIterativeMethod(
        bridge.Segmentation(victim, input_shape=SHAPE), eps=EPS, eps_step=EPS / 8, decay=1.0, max_iter=8, verbose=False
    )
    theirs = torch.from_numpy(attack.generate(images.numpy(), masks.numpy()))
    ours = mi_fgsm(victim, images, masks, eps=EPS, steps=8, momentum=1.0, keep_best=False)
    # ART adds momentum up in float64, so a sign may differ where it is 0 but for rounding.
    assert ((ours - theirs).abs() > 1e-6).float().mean() <= 1e-4
    torch.testing.assert_close(dice(victim(ours), masks), dice(victim(theirs), masks), rtol=0, atol=1e-6)


@needs_art
@heads
def test_r_fgsm_is_their_fgsm_after_our_start(bridge: ModuleType, evasion: ModuleType, head: str) -> None:
    images, masks = discs(6, seed=3)
    victim = finder(head, dtype=torch.float32)
    estimator = bridge.Segmentation(victim, input_shape=SHAPE)
    start = bridge.random_start(images, eps=EPS / 2, generator=seeded())
    theirs = evasion.FastGradientMethod(estimator, eps=EPS / 2).generate(start.numpy(), masks.numpy())
    ours = r_fgsm(victim, images, masks, eps=EPS, generator=seeded(), keep_best=False)
    assert np.array_equal(ours.numpy(), theirs)
    kept = bridge.run_art(
        "FastGradientMethod", victim, images, masks, eps=EPS, generator=seeded(), parameters={"random_start": 0.5}
    )
    torch.testing.assert_close(kept, torch.from_numpy(theirs), rtol=0, atol=1e-6)


STEPS = {"FastGradientMethod": None, "SquareAttack": 200}
RUNS = [
    ("FastGradientMethod", "linf", {}),
    ("FastGradientMethod", "l2", {}),
    ("FastGradientMethod", "linf", {"random_start": 0.5}),
    ("BasicIterativeMethod", "linf", {"eps_step": 0.01}),
    ("ProjectedGradientDescent", "linf", {"max_iter": 5}),
    ("ProjectedGradientDescent", "l2", {"random_start": 0.25}),
    ("ProjectedGradientDescent", "linf", {"decay": 0.5}),
    ("MomentumIterativeMethod", "linf", {"decay": 0.9}),
    ("SquareAttack", "linf", {"p_init": 0.5}),
]


@needs_art
@pytest.mark.parametrize(("name", "norm", "parameters"), RUNS)
def test_run_art_keeps_the_contract(bridge: ModuleType, name: str, norm: str, parameters: dict[str, Any]) -> None:
    images, masks = discs(6, seed=3)
    masks[0], masks[1] = 0, 1
    copies = images.clone(), masks.clone()
    victim = finder("bernoulli")
    eps = EPS if norm == "linf" else 0.4
    steps = None if "max_iter" in parameters else STEPS.get(name, 4)

    def run(eps: float) -> Tensor:
        attacked: Tensor = bridge.run_art(
            name, victim, images, masks, eps=eps, norm=norm, steps=steps, generator=seeded(), parameters=parameters
        )
        return attacked

    attacked = run(eps)
    change = (attacked - images).flatten(1)
    size = change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)
    assert (size <= eps + 1e-6).all()
    assert size.max() > 0.5 * eps
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad
    assert torch.equal(attacked, run(eps))
    assert torch.equal(run(0.0), images)
    assert torch.equal(images, copies[0])
    assert torch.equal(masks, copies[1])
    assert (dice(victim(attacked), masks)[2:] <= dice(victim(images), masks)[2:]).all()
    assert dice(victim(attacked), masks)[2:].mean() < dice(victim(images), masks)[2:].mean()


@needs_art
def test_an_l2_budget_of_many_pixels_may_exceed_1(bridge: ModuleType) -> None:
    images, masks = torch.full((2, 1, 20, 23), 0.5), torch.ones(2, 1, 20, 23)
    for name in ("FastGradientMethod", "ProjectedGradientDescent"):
        moved = bridge.run_art(
            name, lambda seen: Bernoulli(seen - 0.45), images, masks, eps=2.5, norm="l2", parameters={}
        )
        lengths = (moved - images).flatten(1).norm(dim=1)
        torch.testing.assert_close(lengths, torch.full((2,), 2.5))
    with pytest.raises(AttackError, match=r"eps must be from 0 to 1 and finite, got 2\.5"):
        bridge.run_art(name, Bernoulli, images, masks, eps=2.5, norm="linf", parameters={})


@needs_art
def test_run_art_runs_inside_inference_mode_and_on_other_shapes(bridge: ModuleType) -> None:
    model = bridge.Segmentation.of_logits(Network(), input_shape=SHAPE).model
    for shape in ((1, 1, 1, 1), (2, 1, 5, 9)):
        images = torch.rand(shape, generator=seeded())
        with torch.inference_mode():
            masks = (images > 0.5).float()
            attacked = bridge.run_art("ProjectedGradientDescent", model, images, masks, eps=EPS, parameters={})
        assert attacked.shape == shape


@needs_art
@pytest.mark.parametrize(
    ("name", "options", "error", "sentence"),
    [
        ("AutoProjectedGradientDescent", {}, UnknownNameError, "known: BasicIterativeMethod, FastGradientMethod"),
        ("ProjectedGradientDecent", {}, UnknownNameError, "did you mean 'ProjectedGradientDescent'"),
        ("ProjectedGradientDescent", {"parameters": {"max_iters": 3}}, UnknownNameError, "did you mean 'max_iter'"),
        ("ProjectedGradientDescent", {"parameters": {"eps_step": -1.0}}, AttackError, "refused .* has to be positive"),
        ("ProjectedGradientDescent", {"parameters": {"max_iter": "many"}}, AttackError, "at least 1, got 'many'"),
        ("SquareAttack", {"steps": 0, "generator": seeded()}, AttackError, "at least 1, got 0"),
        ("SquareAttack", {"parameters": {"p_init": 7.0}, "generator": seeded()}, AttackError, "refused"),
        ("ProjectedGradientDescent", {"parameters": {"random_start": 1.0}}, AttackError, r"share of eps in \[0, 1\)"),
        ("ProjectedGradientDescent", {"parameters": {"random_start": 0.5}}, AttackError, "generator is None"),
        ("SquareAttack", {}, AttackError, "generator is None"),
        ("SquareAttack", {"norm": "l2", "generator": seeded()}, AttackError, "linf only"),
        ("SquareAttack", {"norm": "l1"}, UnknownNameError, "unknown norm 'l1'"),
        ("FastGradientMethod", {"objective": "crossentropy"}, UnknownNameError, "did you mean 'cross_entropy'"),
        ("FastGradientMethod", {"steps": 3}, UnknownNameError, "parameter of FastGradientMethod"),
        ("FastGradientMethod", {"eps": -0.1}, AttackError, "eps must be from 0 to 1 and finite, got -0.1"),
    ],
)
def test_run_art_refuses(
    bridge: ModuleType, name: str, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    images, masks = discs(2)
    with pytest.raises(error, match=sentence):
        bridge.run_art(name, finder("bernoulli"), images, masks, **{"eps": EPS, "parameters": {}, **options})


@needs_art
def test_the_example_runs(
    evasion: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    with torch.random.fork_rng(devices=[]):
        runpy.run_path(str(EXAMPLE))
    clean, attacked = (float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().out.splitlines())
    assert clean > 0.7
    assert attacked < 0.3


@needs_art
def test_the_page_names_what_runs(bridge: ModuleType) -> None:
    page = (ROOT / "docs" / "toolbox.md").read_text(encoding="utf-8")
    assert [name for name in bridge.ART_ATTACKS if f"| `{name}` |" not in page] == []
