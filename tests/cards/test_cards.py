"""Cards hold the figures of the model's own evaluation, and no word that claims more."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
import yaml
from tests.cli.conftest import Command, Outcome, command, films, one_sentence, train

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"

__all__ = ["command", "films", "train"]  # fixtures

pytestmark = pytest.mark.usefixtures("small_and_tidy")

XS = "{http://www.w3.org/2001/XMLSchema}"
CLAIMS = re.compile(r"complian|conform(?!ity assessment)|certif|approved|guarantee", re.IGNORECASE)


@pytest.fixture
def schema() -> ElementTree.Element:
    """The schema v0.2 of the Coalition for Health AI, which is not ours to copy."""
    if "TRUSTSEG_CHAI_SCHEMA" not in os.environ:
        pytest.skip(
            "TRUSTSEG_CHAI_SCHEMA does not name the schema of the CHAI model card, v0.2 (coalition-for-health-ai)"
        )
    return ElementTree.parse(os.environ["TRUSTSEG_CHAI_SCHEMA"]).getroot()


def mistakes(
    element: ElementTree.Element, kind: ElementTree.Element, types: dict[str, ElementTree.Element]
) -> list[str]:
    """Return where an element breaks its sequence in the schema: missing, unknown or out of order."""
    (sequence,) = kind.iter(f"{XS}sequence")
    children, found = list(element), []
    for part in sequence.iter(f"{XS}element"):
        name = part.get("name")
        if name is None:  # a signature, which may be left out
            continue
        many = "unbounded" in (part.get("maxOccurs"), sequence.get("maxOccurs"))
        least = 0 if "0" in (part.get("minOccurs"), sequence.get("minOccurs")) else 1
        count = 0
        while children and children[0].tag == f"{{{NAMESPACE}}}{name}" and (many or count < 1):
            child, count = children.pop(0), count + 1
            inner = types.get((part.get("type") or "").removeprefix("mc:"))
            found += [] if inner is None else mistakes(child, inner, types)
        found += [f"no {name}"] if count < least else []
    return found + [f"{child.tag} does not belong there" for child in children]


def test_cards_of_a_run(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run")
    assert command("evaluate", "run", "training.accelerator=cpu").code == 0
    other = Path("run/evaluation-test-other")
    shutil.copytree("run/evaluation-test", other)
    about = json.loads((other / "evaluation.json").read_text())
    (other / "evaluation.json").write_text(json.dumps(about | {"model": "of another"}))
    assert command("card", "run", "-o", "card").code == 0

    text = Path("card/README.md").read_text()
    _, top, body = text.split("---\n", 2)
    metadata = yaml.safe_load(top)
    (result,) = metadata["model-index"][0]["results"]
    records = pl.read_parquet("run/evaluation-test/records.parquet").filter(pl.col("condition") == "clean")
    dice = float(np.nanmean(records.filter(pl.col("mask_px") > 0)["dice"].to_numpy()))
    value = pytest.approx(dice, abs=1e-6)
    assert result["metrics"][0] == {"type": "dice_per_image", "name": "Dice per image", "value": value}
    assert "user: who developed the model" in body
    assert "evaluation-test-other" not in body
    assert str(Path.cwd().parent) not in text  # where the data lay

    root = ElementTree.parse("card/chai-applied-model-card.xml").getroot()
    labels = {found.findtext(f"{{{NAMESPACE}}}Label"): found for found in root.iter(f"{{{NAMESPACE}}}MetricResult")}
    found = json.loads(str(labels["Dice per image (evaluation-test)"].findtext(f"{{{NAMESPACE}}}ValueJson")))
    assert found.get("estimate", found.get("value")) == value

    for content in (body, Path("card/chai-applied-model-card.xml").read_text()):
        assert CLAIMS.findall(content) == []
    for file in Path("run/evaluation-test").iterdir():  # as a study has them, beside the model
        shutil.copy(file, Path("run"))
    shutil.rmtree("run/evaluation-test")
    assert command("card", "run", "-o", "cell").code == 0
    assert body.replace("(evaluation-test)", "(run)") in Path("cell/README.md").read_text()
    again = command("card", "run", "-o", "card")
    assert again.code == 2
    assert "--overwrite" in one_sentence(again)


def test_the_hub_reads_the_card(command: Command, train: Callable[..., Outcome]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    train("-o", "run")
    found = command("card", "run")
    assert "trustseg evaluate" in found.out
    card = hub.ModelCard(Path("card/README.md").read_text())
    assert card.data.pipeline_tag == "image-segmentation"
    assert "user: no evaluation of this model" in card.text


@pytest.mark.oracle
def test_the_card_follows_its_schema(
    schema: ElementTree.Element, command: Command, train: Callable[..., Outcome]
) -> None:
    types = {each.get("name", ""): each for each in schema.findall(f"{XS}complexType")}
    (kind,) = schema.findall(f"{XS}element/{XS}complexType")
    train("-o", "run")
    assert command("card", "run", "-o", "card").code == 0
    root = ElementTree.parse("card/chai-applied-model-card.xml").getroot()
    assert mistakes(root, kind, types) == []

    def basic(*names: str) -> list[str]:
        element = ElementTree.Element("BasicInfo")
        for name in names:
            ElementTree.SubElement(element, f"{{{NAMESPACE}}}{name}")
        return mistakes(element, types["BasicInfoType"], types)

    assert basic("ModelName", "ModelDeveloper", "DeveloperContact") == []
    assert basic("ModelName", "DeveloperContact") == ["no ModelDeveloper"]
    assert len(basic("ModelName", "DeveloperContact", "ModelDeveloper", "Else")) == 3
