"""The model card of the Hugging Face Hub: Markdown with metadata in YAML on top."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from trustseg import __version__
from trustseg.cards.facts import USER, CardFacts, Measured, interval_words, user
from trustseg.statistics import Interval

__all__ = ["COVER", "hugging_face_card"]

COVER: Final = "Technical evidence to support documentation. Not a conformity assessment. Research use."


def hugging_face_card(facts: CardFacts) -> str:
    """Return the content of ``README.md``.

    Reference:
        Hugging Face Hub, "Model Cards" and "Model card metadata"; results as ``model-index``.
    """
    top = yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{top}---\n\n" + "\n".join(_lines(facts)) + "\n"


def _metadata(facts: CardFacts) -> dict[str, Any]:
    spec = facts.spec
    found: dict[str, Any] = {
        "library_name": "trustseg",
        "pipeline_tag": "image-segmentation",
        "license": "other",
        "license_name": "user",
        "tags": ["medical", "image-segmentation", "uncertainty", spec.architecture.replace("_", "-"), spec.encoder],
    }
    results = [_result(facts, each) for each in facts.measured]
    return found | ({"model-index": [{"name": facts.name, "results": results}]} if results else {})


def _result(facts: CardFacts, measured: Measured) -> dict[str, Any]:
    """Return the entry of one evaluation in ``model-index``."""
    metrics = [
        {"type": label.lower().replace(" ", "_"), "name": label, "value": round(interval.value, 6)}
        for label, interval in {**measured.overlap, **measured.trust}.items()
        if not math.isnan(interval.value)
    ]
    digest = (facts.provided("data", "digest") or "unknown")[:16]
    return {
        "task": {"type": "image-segmentation"},
        "dataset": {"name": user("name of the dataset"), "type": f"digest-{digest}", "split": "test"},
        "metrics": metrics,
    }


def _lines(facts: CardFacts) -> Iterator[str]:
    spec = facts.spec
    head = "evidential (Beta)" if spec.head == "beta" else "classical (Bernoulli)"
    yield f"# {facts.name}\n"
    yield f"> {COVER}\n"
    yield f"Entries that begin with **{USER}** are for you to fill in; all others come from files next to the model.\n"
    yield "## Model\n"
    yield from _table(
        {
            "what it does": f"marks {facts.target or user('what the masks mark')} in images, and says how sure it is",
            "network": f"{spec.architecture} on {spec.encoder}, {facts.parameters:,} parameters",
            "head": head,
            "input": f"{'grey' if spec.channels == 1 else 'RGB'} images, resized to {spec.size} x {spec.size} pixels",
            "calibration": _calibration(facts),
            "model hash": facts.digest,
            "developed by": user("who developed the model"),
            "licence": user("licence of the weights, and of the pretrained encoder if there was one"),
        }
    )
    yield "## Use\n"
    yield from _table(
        {
            "intended use": user("for what, by whom, on which patients and devices"),
            "out of scope": user("what it must not be used for; it is no medical device"),
            "how to run": "`trustseg predict MODEL IMAGES`; without trustseg, `trustseg export MODEL model.onnx`",
        }
    )
    yield "## Training\n"
    yield from _table(_training(facts))
    yield "## Evaluation\n"
    if not facts.measured:
        yield f"{user('no evaluation of this model was found next to it; run trustseg evaluate')}\n"
    for measured in facts.measured:
        yield f"On {measured.description()}.\n"
        yield from _table(_texts({**measured.overlap, **measured.trust}), "metric", "value [interval]")
        if measured.changed:
            yield "Dice per image on changed images:\n"
            yield from _table(_texts(measured.changed), "condition", "Dice [interval]")
    yield "## Risks and limits\n"
    yield from _table(
        {
            "known failures": user("cases that it gets wrong, and what follows from that in use"),
            "subgroups": user("performance by age, sex, device and site, where it was measured"),
            "other data": "figures hold for data like those above; other hospitals, devices and patients were not "
            "measured unless they are named",
        }
    )
    yield f"Written by trustseg {__version__}."


def _calibration(facts: CardFacts) -> str:
    found = facts.calibration
    if found is None:
        return "none"
    return f"{found.method}, fitted on {found.images} {found.split} images of {found.patients} patients"


def _training(facts: CardFacts) -> dict[str, str]:
    training, adversarial = facts.settings.get("training", {}), facts.settings.get("adversarial", {})
    found = {
        "data": user("origin, licence, and how the reference masks were drawn"),
        "data digest": facts.provided("data", "digest") or user("not recorded"),
        "images": facts.split_words() or user("not recorded"),
        "epochs": str(training.get("epochs", user("not recorded"))),
        "adversarial training": str(adversarial.get("selection", user("not recorded"))),
        "seed": str(training.get("seed", facts.settings.get("seed", user("not recorded")))),
        "commit": facts.provided("commit") or user("not recorded"),
        "device": facts.provided("device") or user("not recorded"),
    }
    packages = facts.provenance.get("packages")
    if isinstance(packages, Mapping):
        found["packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    return found


def _texts(intervals: Mapping[str, Interval]) -> dict[str, str]:
    return {label: interval_words(interval) for label, interval in intervals.items()}


def _table(rows: Mapping[str, str], first: str = "", second: str = "") -> Iterator[str]:
    yield f"| {first} | {second} |"
    yield "|---|---|"
    for key, value in rows.items():
        yield f"| {key} | {_cell(value)} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
