"""Documents about a model, written from templates: the two cards here, those of an evidence pack elsewhere."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import jinja2
import yaml

from trustseg import __version__
from trustseg.cards.facts import CardFacts, Measured, interval_words, user

__all__ = ["COVER", "chai_card", "hugging_face_card", "render"]

COVER: Final = "Technical evidence to support documentation. Not a conformity assessment. Research use."


def render(template: str, *, package: str = "trustseg.cards", **values: object) -> str:
    """Return a document from a template of a package; what is put into HTML and XML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=lambda name: name is not None and not name.endswith(".md.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "interval": interval_words, "value_json": _value_json}
    return environment.get_template(template).render(user=user, cover=COVER, version=__version__, **values)


def hugging_face_card(facts: CardFacts) -> str:
    """Return the content of ``README.md``: Markdown with metadata in YAML on top.

    Reference:
        Hugging Face Hub, "Model Cards" and "Model card metadata"; results as ``model-index``.
    """
    metadata: dict[str, Any] = {
        "library_name": "trustseg",
        "pipeline_tag": "image-segmentation",
        "license": "other",
        "license_name": "user",
        "tags": [
            *("medical", "image-segmentation", "uncertainty"),
            *(facts.spec.architecture.replace("_", "-"), facts.spec.encoder),
        ],
    }
    if facts.measured:
        results = [_model_index_entry(facts, each) for each in facts.measured]
        metadata["model-index"] = [{"name": facts.name, "results": results}]
    top = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)
    return render("README.md.jinja", metadata=top, facts=facts)


def _model_index_entry(facts: CardFacts, measured: Measured) -> dict[str, Any]:
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


def chai_card(facts: CardFacts) -> str:
    """Return the Applied Model Card as XML.

    Reference:
        Coalition for Health AI, Applied Model Card, schema v0.2 (repository coalition-for-health-ai/mc-schema).
    """
    return render("chai.xml.jinja", facts=facts)


def _cell(text: object) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def _value_json(interval: Any) -> str:  # noqa: ANN401 - of a template
    """Return an interval, or None, in the JSON of the published examples; null where it is undefined."""
    numbers = [math.nan] * 3 if interval is None else [interval.value, interval.low, interval.high]
    value, low, high = (None if math.isnan(each) else round(each, 6) for each in numbers)
    found: Mapping[str, object] = {"kind": "estimate_ci", "estimate": value, "lower": low, "upper": high, "level": 95}
    return json.dumps({"kind": "single", "value": value} if None in (value, low, high) else found)
