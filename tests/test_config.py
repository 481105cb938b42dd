from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

import trustseg
from trustseg.attacks import ATTACKS, OBJECTIVES
from trustseg.config import (
    AttackConfig,
    DataConfig,
    EvaluationConfig,
    RunConfig,
    StudyConfig,
    describe_keys,
    load_run,
    load_study,
    with_values,
)
from trustseg.errors import ConfigError, MissingFileError
from trustseg.losses import DATA_TERMS
from trustseg.models import ARCHITECTURES
from trustseg.selection import SELECTIONS
from trustseg.uncertainty import AGGREGATIONS, MEASURES

EXPERIMENTS = sorted((Path(trustseg.__file__).parent / "experiments").glob("*.yaml"))
EXPERIMENTS = [file for file in EXPERIMENTS if file.stem != "hypotheses"]  # read by trustseg.study.hypotheses


def written(folder: Path, text: str, name: str = "study.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def refusal(*overrides: str) -> str:
    """Return the words by which overrides of the defaults are refused."""
    with pytest.raises(ConfigError) as caught:
        load_run(None, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def leaves(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every key that can be set on the command line."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        section = isinstance(inner, type) and issubclass(inner, BaseModel)
        keys += leaves(inner, f"{prefix}{name}.") if section and isinstance(inner, type) else [prefix + name]
    return keys


def value_at(content: object, key: str) -> object:
    for part in key.split("."):
        assert isinstance(content, dict)
        content = content[part]
    return content


# --- the shipped files -----------------------------------------------------------------------------------------------


def test_experiments_are_shipped() -> None:
    assert {"tiny.yaml", "demo.yaml", "covid_cxr.yaml"} <= {file.name for file in EXPERIMENTS}


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.name)
def test_every_shipped_study_is_valid_and_named_like_its_file(file: Path) -> None:
    study = load_study(file)
    assert study.name == file.stem
    assert study.grid


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.name)
def test_a_written_configuration_is_read_back_the_same(file: Path, tmp_path: Path) -> None:
    study = load_study(file)
    cell = with_values(study, {key: values[0] for key, values in study.grid.items()})
    again = load_run(written(tmp_path, yaml.safe_dump(cell.model_dump(mode="json"), sort_keys=False)))
    assert again == cell


# --- values ----------------------------------------------------------------------------------------------------------


def test_defaults_need_no_file() -> None:
    assert load_run(None) == RunConfig()


def test_overrides_win_over_the_file_in_their_order(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3, batch_size: 2}\n")
    run = load_run(file, ["training.epochs=4", "training.epochs=5", "adversarial.measure.beta=vacuity"])
    assert (run.training.epochs, run.training.batch_size) == (5, 2)
    assert run.adversarial.measure.beta == "vacuity"


@pytest.mark.parametrize(
    ("text", "value"),
    [("4/255", 4 / 255), ("4 / 255", 4 / 255), ("0", 0.0), ("0.25", 0.25), ("1e-3", 0.001), ("255/255", 1.0)],
)
def test_a_budget_may_be_a_fraction(text: str, value: float) -> None:
    assert load_run(None, [f"adversarial.eps={text}"]).adversarial.eps == value


@pytest.mark.parametrize("text", ["4/0", "a/b", "4/255/2", "-1/255", "300/255", ".nan", ".inf", "1e999/1", "null", ""])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    assert "adversarial.eps" in refusal(f"adversarial.eps={text}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=many", "got training.epochs=many; an integer >= 1 was expected; set for example training"),
        ("training.epochs=2.5", "training.epochs=2.5"),
        ("training.epochs=0", "got training.epochs=0; an integer >= 1 was expected"),
        ("training.epochs=yes", "got training.epochs=true; an integer >= 1"),
        ("training.learning_rate=off", "got training.learning_rate=false; a number > 0 was expected"),
        ("training.learning_rate=-1", "training.learning_rate=-1"),
        ("training.learning_rate=.nan", "got training.learning_rate=nan; a number > 0 was expected"),
        ("training.augment=perhaps", "got training.augment=perhaps; true or false was expected"),
        ("data.channels=2", "got data.channels=2; 1 or 3 was expected"),
        ("data.channels=true", "got data.channels=true; 1 or 3 was expected"),
        ("data.size=31", "data.size=31"),
        ("data.fold=5", "fold 5 does not exist among 5 folds (0 to 4)"),
        ("data.path=[1]", "data.path=[1]"),
        ("model.head=gauss", "got model.head=gauss; bernoulli or beta was expected; set model.head to one of these"),
        ("model.head=betta", "bernoulli or beta was expected; did you mean beta?"),
        ("adversarial.eps=8", "write adversarial.eps=8/255 for 8 grey levels"),
        ("adversarial.eps=-1", "got adversarial.eps=-1; a number or fraction >= 0, <= 1 was expected"),
        ("training.accelerator=quantum", "training.accelerator"),
        ("data=3", "got data=3; a section with the keys path, size, channels,"),
        ("data=null", "got data=null; a section with the keys path,"),
        ("evaluation.measures=entropy", "was expected; write evaluation.measures=[entropy]"),
        ("evaluation.measures=[3]", "got evaluation.measures.0=3; entropy, variance,"),
        ("evaluation.attacks=pgd", "a list of sections with the keys name, eps,"),
        ("evaluation.attacks=pgd", "write for example evaluation.attacks=[{name: pgd, eps: [4/255]}]"),
        ("evaluation.attacks=[{name: pgd, eps: 4/255}]", ">= 0, or fractions was expected; write eps: [4/255]"),
        ("evaluation.attacks=[{eps: [1/255]}]", "evaluation.attacks.0.name is missing"),
        ("evaluation.attacks=[{name: pgd, eps: []}]", "got evaluation.attacks.0.eps=[]; a list of numbers"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(override: str, words: str) -> None:
    assert words in refusal(override)


def test_all_findings_are_told_at_once() -> None:
    message = refusal("training.epochs=0", "data.size=1", "model.hed=beta")
    assert all(key in message for key in ("training.epochs", "data.size", "model.hed"))


def test_a_configuration_is_frozen() -> None:
    run = RunConfig()
    with pytest.raises(ValidationError):
        run.training.epochs = 3  # type: ignore[misc]  # the mistake under test


# --- unknown keys and names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("modell.head=beta", "'modell'; did you mean 'model'?"),
        ("model.hed=beta", "'model.hed'; did you mean 'model.head'?"),
        ("adversarial.measure.bata=vacuity", "did you mean 'adversarial.measure.beta'?"),
        ("epochs=3", "'epochs'; did you mean 'training.epochs'?"),
        ("model.epochs=3", "'model.epochs'; did you mean 'training.epochs'?"),
        ("batch_size=3", "did you mean 'training.batch_size' or 'evaluation.batch_size'?"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1], step: 3}]", "did you mean 'evaluation.attacks.steps'?"),
        ("zzz=1", "known sections: data, model, loss, adversarial, training, evaluation"),
        ("=1", "unknown key ''"),
        ("grid.model.head=[beta]", "unknown key 'grid'"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, hint: str) -> None:
    assert hint in refusal(override)


def test_an_unknown_key_in_a_file_names_the_file_too(tmp_path: Path) -> None:
    file = written(tmp_path, "adversarial: {measure: {bata: vacuity}}\n")
    with pytest.raises(ConfigError, match=r"study\.yaml: unknown key 'adversarial\.measure\.bata'; did you mean"):
        load_run(file)


NAMES = {
    "model.architecture": ARCHITECTURES,
    "loss.beta": DATA_TERMS,
    "adversarial.selection": ["none", *SELECTIONS],
    "adversarial.attack": ATTACKS,
    "adversarial.objective": OBJECTIVES,
    "adversarial.measure.bernoulli": ["entropy", "variance"],
    "adversarial.measure.beta": MEASURES,
    "adversarial.aggregation": AGGREGATIONS,
}


@pytest.mark.parametrize("key", NAMES)
def test_every_known_name_is_accepted_and_no_other(key: str) -> None:
    for name in NAMES[key]:
        settings = [f"{key}={name}", *(["adversarial.measure.beta=vacuity"] if name == "count_above" else [])]
        assert value_at(load_run(None, settings).model_dump(), key) == name
    message = refusal(f"{key}=nonsense")
    assert f"unknown value of {key} 'nonsense'" in message
    assert all(name in message for name in NAMES[key])


def test_a_name_nearly_right_gets_a_hint() -> None:
    assert "did you mean 'unet'?" in refusal("model.architecture=unit")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluation.attacks=[{name: pdg, eps: [0.1]}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1], objective: margni}]", "did you mean 'margin'?"),
        ("evaluation.measures=[entropi]", "did you mean 'entropy'?"),
        ("evaluation.aggregations=[men]", "did you mean 'mean'?"),
    ],
)
def test_names_in_lists_are_checked_too(override: str, words: str) -> None:
    assert words in refusal(override)


# --- parts that do not go together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("term", [*sorted(set(DATA_TERMS) - {"binary_cross_entropy"}), "soft_dice", "kl_to_uniform"])
def test_a_bernoulli_head_takes_no_evidential_loss(term: str) -> None:
    assert "known: binary_cross_entropy" in refusal(f"loss.bernoulli={term}")


@pytest.mark.parametrize("term", ["soft_dice", "kl_to_uniform"])
def test_a_penalty_is_no_data_term(term: str) -> None:
    assert f"unknown value of loss.beta '{term}'" in refusal(f"loss.beta={term}")


def test_kl_to_uniform_needs_prior_one() -> None:
    assert "set loss.kl_weight=0 or model.prior=1" in refusal("model.prior=0.5")
    assert load_run(None, ["model.prior=0.5", "loss.kl_weight=0"]).model.prior == 0.5
    assert load_run(None, ["model.prior=0.5", "model.head=bernoulli"]).model.prior == 0.5  # neither is used


def test_a_bernoulli_head_takes_no_evidential_objective() -> None:
    for objective in ("digamma", "evidence_margin"):
        attack = f"evaluation.attacks=[{{name: pgd, eps: [0.1], objective: {objective}}}]"
        for override in (attack, f"adversarial.objective={objective}"):
            assert load_run(None, [override]).model.head == "beta"
            assert "needs a beta head, model.head is bernoulli" in refusal(override, "model.head=bernoulli")


@pytest.mark.parametrize("measures", ["[]", "[vacuity]", "[mutual_information, dissonance]"])
def test_one_measure_must_be_given_by_every_head(measures: str) -> None:
    assert "add entropy or variance" in refusal(f"evaluation.measures={measures}")


def test_measures_that_rank_alike_are_refused() -> None:
    assert "in the same order" in refusal("evaluation.measures=[entropy, vacuity, variance]")


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.aggregation=count_above"],  # the default measure of a beta head is the epistemic variance
        ["adversarial.aggregation=count_above", "adversarial.measure.beta=mutual_information"],
        ["adversarial.aggregation=count_above", "adversarial.measure.bernoulli=variance", "model.head=bernoulli"],
        ["evaluation.aggregations=[mean, count_above]"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[variance]"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, differential_entropy]"],
    ],
)
def test_a_count_that_is_always_zero_is_refused(settings: list[str]) -> None:
    message = refusal(*settings)
    assert "every image would score 0" in message
    assert "only measures among entropy, expected_entropy, vacuity, dissonance" in message


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.aggregation=count_above", "model.head=bernoulli"],
        ["adversarial.aggregation=count_above", "adversarial.measure.beta=dissonance"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, vacuity]"],
    ],
)
def test_a_count_that_can_rise_is_accepted(settings: list[str]) -> None:
    config = load_run(None, settings)
    assert "count_above" in (config.adversarial.aggregation, *config.evaluation.aggregations)


@pytest.mark.parametrize("option", ["steps: 3", "restarts: 2", "norm: l2"])
def test_options_of_pgd_are_not_swallowed_by_other_attacks(option: str) -> None:
    name = option.partition(":")[0]
    assert f"{name} is no option of the attack fgsm" in refusal(
        f"evaluation.attacks=[{{name: fgsm, eps: [0.1], {option}}}]"
    )


def test_a_budget_above_the_range_of_a_pixel_is_refused_unless_it_is_of_the_whole_image() -> None:
    assert "above 1" in refusal("evaluation.attacks=[{name: pgd, eps: [4]}]")
    assert AttackConfig(name="pgd", eps=(4.0,), norm="l2").eps == (4.0,)


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (AttackConfig(name="fgsm", eps=(0.1,)), "fgsm"),
        (AttackConfig(name="pgd", eps=(0.1,)), "pgd"),
        (AttackConfig(name="pgd", eps=(0.1,), steps=3), "pgd3"),
        (AttackConfig(name="pgd", eps=(0.1,), norm="l2", restarts=2), "pgd_l2_x2"),
        (AttackConfig(name="r_fgsm", eps=(0.1,), objective="margin"), "r_fgsm_margin"),
    ],
)
def test_label_tells_attacks_apart(attack: AttackConfig, label: str) -> None:
    assert attack.label == label


def test_the_same_condition_twice_is_refused() -> None:
    fgsm, other = AttackConfig(name="fgsm", eps=(0.1, 0.2)), AttackConfig(name="fgsm", eps=(0.2,))
    with pytest.raises(ValueError, match=r"'fgsm at eps=0\.200000' twice"):
        EvaluationConfig(attacks=(fgsm, other))
    with pytest.raises(ValueError, match="twice"):  # told apart by no file name and no reader
        EvaluationConfig(attacks=(AttackConfig(name="fgsm", eps=(0.1, 0.1 + 1e-8)),))
    EvaluationConfig(attacks=(fgsm, AttackConfig(name="fgsm", eps=(0.2,), objective="margin")))
    EvaluationConfig(attacks=(AttackConfig(name="fgsm", eps=(0.0, 0.0)),))  # no condition at all


@pytest.mark.parametrize("key", ["measures", "aggregations"])
def test_a_column_twice_is_refused(key: str) -> None:
    name = "entropy" if key == "measures" else "mean"
    assert f"{key} holds '{name}' twice" in refusal(f"evaluation.{key}=[{name}, {name}]")


def test_the_last_fold_exists() -> None:
    assert DataConfig(fold=4).fold == 4
    assert DataConfig(fold=0, folds=2).fold == 0


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.yaml"):
        load_run(tmp_path / "nowhere.yaml")
    with pytest.raises(MissingFileError):
        load_run(tmp_path)  # a folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training:\n  epochs: [3\n", "line 3"),
        ("training: {epochs: 3}\ntraining: {batch_size: 4}\n", "line 2: the key 'training' is repeated"),
        ("training:\n  epochs: 3\n  epochs: 4\n", "line 3: the key 'epochs' is repeated"),
        ("training: !!python/object/apply:os.system [ls]\n", "line 1"),
        ("a: \0\n", "is not YAML"),
        ("- data\n", "holds a list"),
        ("data\n", "holds a str"),
        ("1: 2\n", "1"),
        ("training.epochs: 3\n", "unknown key 'training.epochs'"),
    ],
)
def test_a_file_that_is_no_configuration_gets_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(written(tmp_path, text))
    assert words in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_a_file_of_other_bytes_gets_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="not YAML"):
        load_run(file)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "training:\n", "training:\n  # epochs: 3\ngrid:\n"])
def test_an_empty_file_or_section_means_the_defaults(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert load_run(file) == RunConfig()
    assert load_run(file, ["training.epochs=3"]).training.epochs == 3
    assert load_study(file, ["grid.training.seed=[0, 1]"]).grid == {"training.seed": (0, 1)}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epochs", "key=value was expected"),
        ("training.epochs=[1", "is not YAML"),
        ("data.path=a: b: c", "quote it"),
        ("training.epochs.x=3", "training.epochs"),
    ],
)
def test_an_override_that_is_none_gets_a_sentence(override: str, words: str) -> None:
    assert words in refusal(override)


def test_an_override_below_a_single_value_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3}\ngrid: [1]\n")
    with pytest.raises(ConfigError, match=r"'training\.epochs' is a single value, so 'training\.epochs\.x'"):
        load_run(file, ["training.epochs.x=3"])
    with pytest.raises(ConfigError, match="'grid' is a single value"):
        load_study(file, ["grid.model.head=[beta]"])


def test_a_value_may_hold_an_equals_sign() -> None:
    assert load_run(None, ["data.path=a=b"]).data.path == "a=b"


# --- studies ---------------------------------------------------------------------------------------------------------


def test_a_study_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    assert load_study(written(tmp_path, "", "trial-2.yaml")).name == "trial-2"
    assert load_study(written(tmp_path, "name: other\n", "trial-2.yaml")).name == "other"
    with pytest.raises(ConfigError, match=r"got name=\.\./out; a name of letters"):
        load_study(written(tmp_path, "name: ../out\n"))


def test_grid_values_may_be_set_by_override(tmp_path: Path) -> None:
    file = written(tmp_path, "grid: {model.head: [bernoulli, beta]}\n")
    assert load_study(file, ["grid.model.head=[beta]"]).grid == {"model.head": ("beta",)}


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("{model.hed: [beta]}", "the grid: unknown key 'model.hed'; did you mean 'model.head'?"),
        ("{model.head: [beta, gauss]}", "the grid: got model.head=gauss; bernoulli or beta was expected"),
        ("{model.head: beta}", "got grid.model.head=beta; a list of values was expected; write grid.model.head=[beta]"),
        ("{model.head: []}", "got grid.model.head=[]; a list of values was expected; name at least one value"),
        ("{data.fold: [0, 7]}", "fold 7 does not exist"),
        ("{model.prior: [1, 0.5], loss.kl_weight: [0, 0.1]}", "needs model.prior=1"),  # one of four does not fit
        ("{name: [a, b]}", "unknown key 'name'"),
        ("{training.epochs.x: [1]}", "'training.epochs' is a single value"),
    ],
)
def test_every_run_of_a_grid_is_checked_before_anything_starts(tmp_path: Path, grid: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(written(tmp_path, f"grid: {grid}\n"))
    assert words in str(caught.value)


def test_with_values_gives_the_plain_run_and_leaves_the_study_alone() -> None:
    study = StudyConfig(name="x", grid={"model.head": ("bernoulli",)})
    run = with_values(study, {"model.head": "bernoulli", "adversarial.measure.beta": "vacuity"})
    assert type(run) is RunConfig
    assert (run.model.head, run.adversarial.measure.beta) == ("bernoulli", "vacuity")
    assert study.model.head == "beta"
    assert with_values(study, {}) == RunConfig()


# --- the list of keys ------------------------------------------------------------------------------------------------


def test_every_key_is_described() -> None:
    rows = list(describe_keys())
    keys = [key for key, *_ in rows]
    assert len(set(keys)) == len(keys)
    assert set(leaves(StudyConfig)) <= set(keys)
    assert {f"evaluation.attacks.{name}" for name in AttackConfig.model_fields} <= set(keys)
    for row in rows:
        assert all(row), row
        assert not any(word in " ".join(row) for word in ("Ge(", "object at", "<class", "Literal", "Pydantic")), row


def test_the_defaults_shown_can_be_typed() -> None:
    """Every scalar default, written as shown, gives the default."""
    shown = {key: default for key, default, *_ in describe_keys()}
    lists = [key for key in shown if key.startswith("evaluation.attacks")]
    for key in set(leaves(RunConfig)) - set(lists):
        default = shown[key]
        listed = ", " in default
        assert load_run(None, [f"{key}={f'[{default}]' if listed else default}"]) == RunConfig(), key


@pytest.mark.parametrize(
    ("key", "default", "allowed"),
    [
        ("data.size", "224", "integer >= 32, <= 2048"),
        ("data.validation_fraction", "0.2", "number > 0, < 1"),
        ("data.fold", "null", "integer >= 0 or null"),
        ("adversarial.eps", "4/255", "number or fraction >= 0, <= 1"),
        ("training.deterministic", "true", "true | false"),
        ("model.head", "beta", "bernoulli | beta"),
        ("loss.bernoulli", "binary_cross_entropy", "binary_cross_entropy"),
        ("evaluation.attacks.eps", "required", "list of numbers >= 0, or fractions"),
    ],
)
def test_keys_are_described_in_words(key: str, default: str, allowed: str) -> None:
    assert next(row for row in describe_keys() if row[0] == key)[1:3] == (default, allowed)
