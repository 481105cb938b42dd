from typing import Any

import pytest
from tests.training import tiny
from torch import Tensor

from trustseg.cli.checks import require_attacks, require_splits
from trustseg.config import RunConfig, load_run
from trustseg.errors import AttackError, UnknownNameError


def run_with(attack: str) -> list[RunConfig]:
    return [load_run(None, [f"evaluation.attacks=[{attack}]"])]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("attack", "error", "words"),
    [
        ("{name: 'art:FastGradientMethod', eps: [0.1], parameters: {decay: 1.0}}", UnknownNameError, "decay"),
        ("{name: 'art:ProjectedGradientDescent', eps: [0.1], parameters: {eps_step: -1.0}}", AttackError, "refused"),
        ("{name: 'art:SquareAttack', eps: [0.1], norm: l2}", AttackError, "linf only"),
    ],
)
def test_an_attack_of_the_toolbox_is_tried_before_anything_is_trained(
    attack: str, error: type[Exception], words: str
) -> None:
    pytest.importorskip("art")
    with pytest.raises(error, match=words):
        require_attacks(run_with(attack))


@pytest.mark.oracle
def test_a_sound_one_takes_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("art")
    from trustseg import art

    steps: list[object] = []
    run_art = art.run_art

    def counting(*arguments: Any, **options: Any) -> Tensor:  # noqa: ANN401
        steps.append(options["steps"])
        return run_art(*arguments, **options)

    monkeypatch.setattr(art, "run_art", counting)
    require_attacks(run_with("{name: 'art:ProjectedGradientDescent', eps: [4/255], steps: 5000}"))
    require_attacks(run_with("{name: pgd, eps: [4/255], steps: 5000}"))  # an own attack needs no trial
    assert steps == [1]


@pytest.mark.parametrize(("epochs", "told"), [(2, True), (3, False)])
def test_a_training_that_ends_before_its_first_attack_is_told(
    epochs: int, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["data.size=32", f"training.epochs={epochs}", "adversarial.selection=random"]
    require_splits([load_run(None, settings)] * 2, tiny.pack())
    assert capsys.readouterr().err.count("adversarial.selection=random attacks no image") == told
