"""The Applied Model Card of the Coalition for Health AI, as XML by its schema v0.2."""

import json
import math
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree

from trustseg import __version__
from trustseg.cards.facts import CardFacts, user
from trustseg.cards.hugging_face import COVER
from trustseg.statistics import Interval

__all__ = ["NAMESPACE", "chai_card"]

NAMESPACE: Final = "https://mc.chai.org/v0.2/schema.xsd"

Part = Mapping[str, "str | Part | list[tuple[str, str | Part]]"]
"""Elements by name: a text, elements inside, or several elements with a name each."""


def chai_card(facts: CardFacts) -> str:
    """Return the card as XML.

    Reference:
        Coalition for Health AI, Applied Model Card, schema v0.2 (repository coalition-for-health-ai/mc-schema).
    """
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}AppliedModelCard")
    _fill(root, _content(facts))
    ElementTree.indent(root, "  ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _fill(parent: ElementTree.Element, part: Part) -> None:
    for name, value in part.items():
        for inner in value if isinstance(value, list) else [(name, value)]:
            element = ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{inner[0]}")
            if isinstance(inner[1], str):
                element.text = inner[1]
            else:
                _fill(element, inner[1])


def _content(facts: CardFacts) -> Part:
    spec = facts.spec
    target = facts.target or user("what the masks mark")
    return {
        "BasicInfo": {
            "ModelName": facts.name,
            "ModelDeveloper": user("who developed the model"),
            "DeveloperContact": user("how to reach them"),
        },
        "ReleaseInfo": {
            "ReleaseStage": "Research use",
            "ReleaseDate": user("date of the release"),
            "ReleaseVersion": f"model {facts.digest}, trustseg {__version__}",
            "GlobalAvailability": user("where it is available"),
            "RegulatoryApproval": user("none, or which"),
        },
        "ModelSummary": {
            "Summary": f"{COVER} The model marks {target} in images and says how sure it is.",
            "Keywords": {"Keyword": _keywords(spec.architecture)},
        },
        "UsesAndDirections": {
            "IntendedUseAndWorkflow": user("for what, and where in the workflow"),
            "PrimaryIntendedUsers": user("by whom"),
            "HowToUse": "trustseg predict MODEL IMAGES; or one file without trustseg: trustseg export MODEL model.onnx",
            "TargetedPatientPopulation": user("on which patients"),
            "CautionedOutOfScopeSettings": user("what it must not be used for; it is no medical device"),
        },
        "Warnings": {
            "KnownRisksAndLimitations": user("cases that it gets wrong, and what follows from that in use"),
            "KnownBiasesOrEthicalConsiderations": user("known biases of data and model"),
            "ClinicalRiskLevel": user("risk level of the use"),
        },
        "TrustIngredients": {
            "AISystemFacts": _system(facts),
            "TransparencyInformation": {
                "FundingSource": user("who paid for it"),
                "StakeholdersConsulted": user("who was asked"),
            },
        },
        "KeyMetrics": _metrics(facts),
        "Resources": {
            "PeerReviewedPublications": user("publications on this model"),
            "PatientConsentOrDisclosure": user("consent of the patients whose images were used"),
        },
        "Bibliography": "",
    }


def _keywords(architecture: str) -> list[tuple[str, "str | Part"]]:
    return [("Keyword", word) for word in ("segmentation", "uncertainty", architecture)]


def _system(facts: CardFacts) -> Part:
    spec = facts.spec
    sides = facts.split_words()
    digest = facts.provided("data", "digest")
    data = f"{sides}; digest of the data {digest or 'not recorded'}" if sides else user("not recorded with the model")
    adversarial = facts.settings.get("adversarial", {}).get("selection", "not recorded")
    return {
        "OutcomesAndOutputs": "mask, probability and uncertainty of each pixel; a score of each image, to review the "
        "least sure first",
        "ModelType": f"{spec.architecture} on {spec.encoder}, {spec.head} head, {facts.parameters:,} parameters",
        "InputDataSource": user("origin of the images"),
        "OutputAndInputDataTypes": f"{facts.input_words()}; maps of their size",
        "DevelopmentDataCharacterization": data,
        "BiasMitigationApproaches": user("what was done about bias"),
        "OngoingMaintenance": user("who watches and updates the model"),
        "Security": f"weights without code (safetensors); selection of adversarial training: {adversarial}",
    }


def _metrics(facts: CardFacts) -> Part:
    overlap = {f"{label} ({each.name})": found for each in facts.measured for label, found in each.overlap.items()}
    trust = {f"{label} ({each.name})": found for each in facts.measured for label, found in each.trust.items()}
    changed = {
        f"Dice, {condition} ({each.name})": found
        for each in facts.measured
        for condition, found in each.changed.items()
    }
    described = "; ".join(each.description() for each in facts.measured) or user("run trustseg evaluate first")
    common = {
        "TestType": "Internal test images that the model was not trained on"
        if facts.measured
        else user("kind of test"),
        "TestingDataDescription": described,
        "ValidationProcessAndJustification": "Intervals are 95 % bootstrap over patients"
        if facts.measured
        else user("how it was validated"),
    }
    return {
        "UsefulnessUsabilityEfficacy": _metric(
            "Agreement of the masks with the reference masks", overlap, user("what this means in use"), common
        ),
        "FairnessEquity": _metric(
            user("performance by age, sex, device and site"),
            {},
            user("what differs between groups"),
            {name: user("of this") for name in common},
        ),
        "SafetyReliability": _metric(
            "Calibration, ranking of errors by uncertainty, and Dice on changed images",
            {**trust, **changed},
            user("which of these is acceptable in use"),
            common,
        ),
    }


def _metric(goal: str, found: Mapping[str, Interval], meaning: str, common: Mapping[str, str]) -> Part:
    results: list[tuple[str, str | Part]] = [
        ("MetricResult", {"Label": label, "ValueJson": _value(interval)}) for label, interval in found.items()
    ]
    blank: Part = {"Label": user("results"), "ValueJson": json.dumps({"kind": "single", "value": None})}
    return {
        "MetricGoal": goal,
        "Results": {"MetricResult": results or [("MetricResult", blank)]},
        "Interpretation": meaning,
        **common,
    }


def _value(interval: Interval) -> str:
    """Return an interval in the JSON of the published examples; null where it is undefined."""
    numbers = [None if math.isnan(each) else round(each, 6) for each in (interval.value, interval.low, interval.high)]
    if None in numbers:
        return json.dumps({"kind": "single", "value": numbers[0]})
    return json.dumps(
        {"kind": "estimate_ci", "estimate": numbers[0], "lower": numbers[1], "upper": numbers[2], "level": 95}
    )
