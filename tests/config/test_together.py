"""Values of a configuration that do not go together, and those that do."""

import re
from pathlib import Path

import pytest
from tests.config.given import refusal, written

from trustseg.config import AttackConfig, EvaluationConfig, load_run, load_study
from trustseg.config.adversarial import WITH_FREE
from trustseg.losses import LOSSES

ATTACK = "evaluation.attacks=[{{name: pgd, eps: [4/255], {}}}]"
BETA, BERNOULLI = "model.head=beta", "model.head=bernoulli"
FREE = ["adversarial.attack=free", *(f"adversarial.{key}={'null' if v is None else v}" for key, v in WITH_FREE.items())]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["adversarial.loss=trades"], "set adversarial.mode=append"),
        (["adversarial.loss=ev_at", "adversarial.mode=append", BERNOULLI], "set adversarial.loss=trades"),
        (["adversarial.loss=strength", "adversarial.mode=append", BERNOULLI], "set adversarial.loss=trades"),
        *(
            ([f"adversarial.pixel_weight={name}", BERNOULLI], "set adversarial.pixel_weight=entropy")
            for name in ("vacuity", "mutual_information", "dissonance")
        ),
        *(
            (["adversarial.objective=divergence", f"adversarial.attack={attack}"], "no gradient at the clean image")
            for attack in ("fgsm", "mi_fgsm", "staged", "{name: pgd, random_start: false}")
        ),
        (["adversarial.attack=segpgd", "adversarial.objective=margin"], "segpgd needs objective=cross_entropy"),
        (["adversarial.selection=threshold"], "threshold=0.05"),
        (
            ["adversarial.selection=proportional", "adversarial.measure.beta=differential_entropy"],
            "differential_entropy is negative",
        ),
        (
            ["adversarial.loss=strength", "adversarial.mode=append", "adversarial.alignment.strength_weight=0"],
            "set adversarial.loss=ev_at",
        ),
        (["adversarial.alignment={divergence: symmetric_kl, one_sided: true}"], "set one_sided=false"),
        ([*FREE, "training.accumulate=2"], "training.accumulate=1, got 2"),
        (["adversarial={selection: random, grad_align: 0.1}", "training.compile=true"], "training.compile=false"),
        (["model.prior=0.5", BETA, "loss.kl_weight=0.1"], "set loss.kl_weight=0 or model.prior=1"),
        *(([f"model.architecture={net}", "training.batch_size=1"], "training.batch_size=2") for net in
          ("deeplab_v3", "deeplab_v3_plus")),
        *(([f"loss.bernoulli={term}"], "known: binary_cross_entropy") for term in
          (*(name for name, loss in LOSSES.items() if loss.facts.needs_beta), "soft_dice")),
        *(([setting], "needs a beta head, model.head is bernoulli") for objective in ("digamma", "evidence_margin")
          for setting in (ATTACK.format(f"objective: {objective}"), f"adversarial.objective={objective}")),
    ],
)  # fmt: skip
def test_what_does_not_go_together(settings: list[str], words: str) -> None:
    assert words in refusal(*settings)


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.threshold=0.1", "adversarial.selection=random"],  # so that a study can name it once
        ["adversarial.loss=trades", "adversarial.mode=append", BERNOULLI],
        *(["adversarial.pixel_weight=" + name, BERNOULLI] for name in ("entropy", "margin")),
        ["adversarial.objective=divergence", "adversarial.attack=pgd"],
        [ATTACK.format("objective: digamma"), "adversarial.objective=evidence_margin", BETA],
        [*FREE, "training.compile=true"],
        [*FREE, "adversarial.selection=none", "adversarial.mode=append", "training.accumulate=2"],
        ["adversarial={selection: random, grad_align: 0.1}", "training.accumulate=4"],
        ["adversarial.grad_align=0.1", "training.compile=true"],  # without adversarial examples
        ["model.prior=0.5", BETA, "loss.kl_weight=0"],
        ["model.prior=0.5", BERNOULLI],  # not used
        ["loss.kl_weight=0"],  # the default changes nothing
        ["model.architecture=deeplab_v3", "training.batch_size=2"],
        ["evaluation.aggregations=[mean, morans_i]"],
        ["data.fold=4"],
        ["evaluation.attacks=[{name: pgd, eps: [4.0], norm: l2}]"],
    ],
)
def test_what_goes_together_is_taken_as_given(settings: list[str]) -> None:
    run = load_run(None, settings)
    assert run.model_validate(run.model_dump()) == run


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("selection", "uncertain"), ("fraction", "0.5"), ("fraction_start", "0.25"), ("mode", "append")),
        *(("loss", "trades"), ("objective", "margin"), ("pixel_weight", "entropy"), ("weight_perturbation", "0.01")),
        ("grad_align", "0.1"),
    ],
)
def test_free_training_leaves_no_choice(key: str, value: str) -> None:
    assert key in WITH_FREE
    also = ["adversarial.mode=append"] if key == "loss" else []  # which trades needs
    assert re.search(
        r"attack=free perturbs every image .*; set \w+=\S+ \(it is ",
        refusal(*FREE, *also, f"adversarial.{key}={value}"),
    )


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (["adversarial.aggregation=count_above", BETA], True),  # its default measure is the epistemic variance
        (["adversarial.aggregation=count_above", "adversarial.measure.beta=mutual_information", BETA], True),
        (["adversarial.aggregation=count_above", "adversarial.measure.bernoulli=variance", BERNOULLI], True),
        (["evaluation.aggregations=[mean, count_above]"], True),
        (["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, differential_entropy]"], True),
        (["evaluation.deferral.aggregation=count_above", BETA], True),
        (["evaluation.deferral={aggregation: count_above, measure: {bernoulli: variance}}", BERNOULLI], True),
        (["adversarial.aggregation=count_above", BERNOULLI], False),
        (["adversarial.aggregation=count_above", "adversarial.measure.beta=dissonance"], False),
        (["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, vacuity]"], False),
        (["evaluation.deferral.aggregation=count_above", "evaluation.deferral.measure.beta=vacuity"], False),
        (["evaluation.deferral.aggregation=count_above", BERNOULLI], False),
    ],
)
def test_a_count_that_is_always_zero_is_refused(settings: list[str], refused: bool) -> None:
    if not refused:
        load_run(None, settings)
        return
    message = refusal(*settings)
    assert "every image would score 0" in message
    assert "only measures among entropy, expected_entropy, vacuity, dissonance" in message


@pytest.mark.parametrize(
    "setting", ["model.prior=0.5", "model.evidence=softplus", "loss.kl_weight=0.1", "loss.kl_epochs=3"]
)
def test_settings_of_a_beta_head_with_the_default_head(tmp_path: Path, setting: str) -> None:
    key, _, value = setting.partition("=")
    assert key in refusal(setting)
    load_run(None, ["loss.kl_weight=0", BETA, setting])
    assert key in refusal(study=written(tmp_path, f"grid: {{{key}: [{value}]}}\n"))
    file = written(tmp_path, "grid: [{model.head: [beta]}, {data.size: [64]}]\n")
    load_study(file, ["loss.kl_weight=0", setting])  # meant for the first of the two


def test_the_same_condition_twice_is_refused() -> None:
    fgsm, other = AttackConfig(name="fgsm", eps=(0.1, 0.2)), AttackConfig(name="fgsm", eps=(0.2,))
    with pytest.raises(ValueError, match=r"'fgsm at eps=0\.200000' twice"):
        EvaluationConfig(attacks=(fgsm, other))
    with pytest.raises(ValueError, match="twice"):  # told apart by no file name and no reader
        EvaluationConfig(attacks=(AttackConfig(name="fgsm", eps=(0.1, 0.1 + 1e-8)),))
    EvaluationConfig(attacks=(fgsm, AttackConfig(name="fgsm", eps=(0.2,), objective="margin")))
    EvaluationConfig(attacks=(AttackConfig(name="fgsm", eps=(0.0, 0.0)),))  # no condition at all


SEEDS = "grid.training.seed=[0, 1]"
AIMED = "evaluation.attacks=[{name: pgd, eps: [4/255], objective: evidence_margin}]"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["mixtures.mc_dropout=-1"], "mixtures.mc_dropout=-1"),
        (["mixtures.mc_dropout=true"], "mixtures.mc_dropout: got true"),
        (["mixtures.dropout=0"], "mixtures.dropout=0"),
        (["mixtures.dropout=1"], "mixtures.dropout=1"),
        (["mixtures.ensemble=3"], "mixtures.ensemble=3"),
        (["mixtures.ensembles=true"], "did you mean 'mixtures.ensemble'?"),
        (["grid.mixtures.mc_dropout=[5]"], "unknown key 'mixtures'"),
        *(
            (["mixtures.ensemble=true", *given], "got one of model.head=bernoulli; set grid.training.seed=[0, 1, 2]")
            for given in ([], ["grid.training.seed=[4]"], ["training.seed=1"])
        ),
        *(
            ([SEEDS, "grid.model.head=[beta]", AIMED, mixtures], "pgd_evidence_margin needs the evidence of a single")
            for mixtures in ("mixtures.ensemble=true", "mixtures.mc_dropout=5")
        ),
    ],
)
def test_mixtures_that_do_not_fit(tmp_path: Path, settings: list[str], words: str) -> None:
    assert words in refusal(*settings, study=written(tmp_path, "grid: {model.head: [bernoulli, beta]}\n"))


def test_mixtures_that_do(tmp_path: Path) -> None:
    file = written(tmp_path, "grid: {model.head: [bernoulli, beta]}\n")
    assert load_study(file, ["mixtures.ensemble=true", SEEDS]).mixtures.ensemble
    assert load_study(file, ["mixtures.mc_dropout=20"]).mixtures.mc_dropout == 20  # one seed is enough for it
    load_study(file, [SEEDS, AIMED.replace("evidence_", ""), "mixtures={ensemble: true, mc_dropout: 5}"])


def test_seeds_are_counted_in_each_fold_and_over_all_grids(tmp_path: Path) -> None:
    grids = "[{{training.seed: [0], data.fold: [0, 1]}}, {{data.fold: {}, training.seed: [1]}}]"
    text = "mixtures: {{ensemble: true}}\ngrid: " + grids
    assert "got one of data.fold=1" in refusal(study=written(tmp_path, text.format("[0]")))
    assert len(load_study(written(tmp_path, text.format("[1, 0]"))).combinations()) == 4
    assert "got one; set" in refusal(study=written(tmp_path, "mixtures: {ensemble: true}\n"))
