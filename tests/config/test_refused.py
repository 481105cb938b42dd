"""What a configuration may not hold: values that do not fit, and unknown keys."""

import re
from pathlib import Path

import pytest
from tests.config.given import refusal, written

from trustseg.config.values import require_value
from trustseg.errors import TrustsegError

ATTACK = "evaluation.attacks=[{{name: pgd, eps: [4/255], {}}}]"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.epochs=many", "training.epochs=many: expected integer >= 1, default 60"),
        ("training.epochs=2.5", "training.epochs=2.5"),
        ("training.epochs=0", "training.epochs=0: expected integer >= 1, default 60"),
        ("training.epochs=yes", "training.epochs: got true, which is a switch"),
        ("training.learning_rate=off", "training.learning_rate: got false, which is a switch"),
        ("training.learning_rate=-1", "training.learning_rate=-1"),
        ("training.learning_rate=.nan", "training.learning_rate=nan"),
        ("training.augment=perhaps", "training.augment=perhaps: expected true | false, default true"),
        ("data.channels=2", "data.channels=2: expected 1 | 3, default 1"),
        ("data.channels=true", "data.channels: got true"),
        ("data.size=31", "data.size=31"),
        ("data.fold=5", "fold 5 does not exist among 5 folds (0 to 4)"),
        ("data=3", "data=3: expected a section of keys"),
        ("data=null", "data=null: expected a section of keys"),
        ("training.optimizer=adam", "unknown key 'training.optimizer'; known: epochs, batch_size"),
        ("data.mask_values=lesion", "data.mask_values=lesion: expected a section of keys"),
        ("data.path=", "data.path"),  # and not the folder that one happens to be in
        ("model.head=gauss", "model.head=gauss: expected bernoulli | beta, default bernoulli"),
        ("model.head=betta", "did you mean beta?"),
        ("model.architecture=unit", "did you mean 'unet'?"),
        ("loss.beta=kl_to_uniform", "unknown value of loss.beta 'kl_to_uniform'"),
        ("loss.region=kl_to_uniform", "known: boundary, focal_tversky"),
        ("loss.region={name: tversky, alfa: 0.2}", "did you mean 'alpha'?"),
        ("adversarial.eps=8", "adversarial.eps=8: expected number or fraction >= 0, <= 1, default 4/255; write 4/255"),
        ("adversarial.eps=-1", "adversarial.eps=-1"),
        *((f"adversarial.eps={text}", "adversarial.eps") for text in ("4/0", "a/b", "4/255/2", "-1/255", "300/255")),
        *((f"adversarial.eps={text}", "adversarial.eps") for text in (".nan", ".inf", "1e999/1", "null", "")),
        ("adversarial.loss=tradse", "did you mean 'trades'?"),
        ("adversarial.fraction_start=0", "adversarial.fraction_start=0"),
        ("adversarial.weight_perturbation=1", "adversarial.weight_perturbation=1"),
        ("adversarial.attack={name: pgd, step_size: -1}", "step_size"),
        ("adversarial.aggregation=morans_i", "adversarial.aggregation must increase with uncertainty, got morans_i"),
        ("evaluation.deferral.aggregation=morans_i", "evaluation.deferral.aggregation must increase"),
        ("evaluation.measures=entropy", "evaluation.measures=entropy: expected a list; write [entropy]"),
        ("evaluation.measures=[[3]]", "evaluation.measures.0=['3']: expected text"),
        ("evaluation.measures=[entropi]", "did you mean 'entropy'?"),
        ("evaluation.measures=[entropy, entropy]", "measures holds 'entropy' twice"),
        ("evaluation.measures=[entropy, vacuity, variance]", "rank pixels identically"),
        ("evaluation.measures=[]", "add entropy or variance"),
        ("evaluation.measures=[mutual_information, dissonance]", "add entropy or variance"),
        ("evaluation.aggregations=[men]", "did you mean 'mean'?"),
        ("evaluation.aggregations=[mean, mean]", "aggregations holds 'mean' twice"),
        ("evaluation.aggregations=[{name: quantile_mean, quantil: 0.9}]", "did you mean 'quantile'?"),
        ("evaluation.minimal.tau=1", "evaluation.minimal.tau=1"),
        ("evaluation.minimal.tau=-0.1", "evaluation.minimal.tau=-0.1"),
        ("evaluation.minimal.eps=[2/255, 1/255]", "eps must be increasing"),
        ("evaluation.minimal.eps=[0, 1/255]", "above 0"),
        ("evaluation.minimal.eps=[0.5, 1.5]", "at most 1"),
        ("evaluation.minimal.eps=[]", "evaluation.minimal.eps=[]"),
        ("evaluation.minimal.halvings=-1", "evaluation.minimal.halvings=-1"),
        ("evaluation.attacks=pgd", "write [{name: pgd, eps: [4/255]}]"),
        ("evaluation.attacks=[{name: pgd, eps: 4/255}]", "evaluation.attacks.0.eps=4/255: expected a list"),
        ("evaluation.attacks=[{eps: [1/255]}]", "evaluation.attacks.0.name is missing"),
        (
            "evaluation.attacks=[{name: pgd}]",
            "eps is missing; expected list, each: number or fraction",
        ),
        ("evaluation.attacks=[{name: pgd, eps: [-1]}]", "evaluation.attacks.0.eps.0=-1"),
        ("evaluation.attacks=[{name: pgd, eps: []}]", "evaluation.attacks.0.eps=[]"),
        ("evaluation.attacks=[{name: pgd, eps: [4]}]", "above 1"),
        ("evaluation.attacks=[{name: pgdd}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: pgdd, eps: [300], stepps: 1}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: apgd, eps: [0.1]}, {name: apgd, eps: [0.1], steps: 100}]", "'apgd' twice"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1]}, {name: pgd, eps: [0.1], objective: cross_entropy}]", "twice"),
        (ATTACK.format("objective: margni"), "did you mean 'margin'?"),
        (ATTACK.format("step: 3"), "did you mean 'steps'?"),
        (ATTACK.format("momentm: 0.9").replace("pgd", "mi_fgsm"), "did you mean 'momentum'?"),
        (
            ATTACK.format("momentum: -1").replace("pgd", "mi_fgsm"),
            "(momentum=-1): expected number >= 0, default 1",
        ),
        (ATTACK.format("step_size: yes"), "evaluation.attacks: pgd(step_size=true): expected number > 0 or null"),
        ("loss.beta={name: fisher_squared_error, determinant_weight: -5}", "expected number >= 0, default 0.05"),
        (
            "loss.bernoulli=focal_cross_entropy(gamma=-1)",
            "loss.bernoulli: focal_cross_entropy(gamma=-1): expected number >= 0, default 2",
        ),
        ("loss.bernoulli={name: focal_cross_entropy, gamma: true}", "(gamma=true): expected number >= 0"),
        (
            "evaluation.aggregations=[quantile_mean(quantile=two)]",
            "(quantile=two): expected number >= 0, <= 1",
        ),
        ("evaluation.aggregations=[mean, {name: quantile_mean, quantile: .nan}]", "(quantile=.nan): expected number"),
        ("loss.region={power: 2}", "loss.region.name is missing; write {name: NAME, option: value}"),
        ("evaluation.metrics=[dice, {tolerance: 2}]", "evaluation.metrics.1.name is missing"),
        (
            "evaluation.attacks=[{name: pgd, eps: [x/255]}]",
            "expected number or fraction >= 0, such as 4/255",
        ),
        *(
            (
                ATTACK.format(option).replace("pgd", "fgsm"),
                f"unknown option of the attack fgsm '{option.split(':')[0]}'",
            )
            for option in ("steps: 3", "restarts: 2", "norm: l2")
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named(setting: str, words: str) -> None:
    assert words in refusal(setting)


@pytest.mark.parametrize("key", ["evaluation.minimal.eps=[-1]", "evaluation.attacks=[{name: pgd, eps: [4/255, -1]}]"])
def test_a_list_is_not_blamed_for_its_item_once_more(key: str) -> None:
    assert refusal(key).count("expected ") == 1


def test_all_findings_are_told_at_once() -> None:
    message = refusal("training.epochs=0", "data.size=1", "model.hed=beta")
    assert all(key in message for key in ("training.epochs", "data.size", "model.hed"))


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("modell.head=beta", "'modell'; did you mean 'model'?"),
        ("model.hed=beta", "'model.hed'; did you mean 'model.head'?"),
        ("adversarial.measure.bata=vacuity", "did you mean 'adversarial.measure.beta'?"),
        ("model.epochs=3", "'model.epochs'; did you mean 'training.epochs'?"),
        ("batch_size=3", "did you mean 'training.batch_size' or 'evaluation.batch_size'?"),
        ("lr=1", "did you mean 'training.learning_rate'?"),
        ("training.max_epochs=1", "did you mean 'training.epochs'?"),
        ("training.batch=1", "did you mean 'training.batch_size'?"),
        ("training.learning-rate=1", "did you mean 'training.learning_rate'?"),
        ("adversarial.epsilon=1", "did you mean 'adversarial.eps'?"),
        ("model.backbone=x", "did you mean 'model.encoder'?"),
        ("model.name=x", "did you mean 'model.architecture'?"),
        ("evaluation.attacks=[{name: pgd, epss: [0.1]}]", "'epss'; did you mean 'eps'?"),
        ("zzz=1", "known: data, model, loss, adversarial, training, evaluation"),
        ("=1", "unknown key ''"),
        ("grid.model.head=[beta]", "unknown key 'grid'"),
        (".".join("a" * 3000) + "=1", "unknown key"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, hint: str) -> None:
    assert hint in refusal(override)


def test_the_file_is_named_too(tmp_path: Path) -> None:
    file = written(tmp_path, "adversarial: {measure: {bata: vacuity}}\n")
    assert "study.yaml: unknown key 'adversarial.measure.bata'; did you mean" in refusal(study=file)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.haed", "beta", "here: unknown key 'model.haed'; did you mean 'model.head'?"),
        ("model.head.name", "beta", "here: unknown key 'model.head.name'"),
        ("", "beta", "here: unknown key ''"),
        (
            "model.head",
            "betta",
            "here: model.head=betta: expected bernoulli | beta, default bernoulli; did you mean",
        ),
        ("adversarial.fraction", 2, "adversarial.fraction=2"),
        ("adversarial.selection", "unsure", "unknown value of adversarial.selection 'unsure'"),
        ("model.head", "beta", None),
        ("adversarial.selection", "threshold", None),  # which needs a threshold, but that is another key
        ("adversarial.eps", "4/255", None),
        ("adversarial.threshold", None, None),
        ("evaluation.shifts", ["all"], None),
    ],
)
def test_a_single_value(key: str, value: object, words: str | None) -> None:
    if words is None:
        require_value(key, value, where="here")
        return
    with pytest.raises(TrustsegError, match=re.escape(words)):
        require_value(key, value, where="here")
