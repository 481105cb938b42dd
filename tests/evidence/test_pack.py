"""A pack names files that are there with their hashes, claims nothing, and opens without a network."""

import json
import math
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.cli.conftest import Command, Outcome, command, films, one_sentence, train
from tests.policies import policy_with
from tests.review.given import decide, review_of

from trustseg.cards.documents import COVER
from trustseg.cards.facts import CardFacts, Measured
from trustseg.deferral import save_policy
from trustseg.errors import DataError, MissingPackageError
from trustseg.evidence import read_frameworks
from trustseg.evidence.artefacts import ARTEFACTS, WRITTEN
from trustseg.evidence.bill import bill_of_materials
from trustseg.evidence.documents import instructions
from trustseg.models.spec import SegmenterSpec
from trustseg.review.cases import sha256_of
from trustseg.review.state import Reader
from trustseg.review.verify import open_store
from trustseg.statistics import Interval

__all__ = ["command", "films", "train"]  # fixtures

pytestmark = pytest.mark.usefixtures("small_and_tidy")

CLAIMS = re.compile(r"complian|conform|certif|approv|guarantee", re.IGNORECASE)


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the items of a pack by framework and name."""
    content = json.loads((folder / "items.json").read_text())
    return {f"{each['key']} {item['name']}": item for each in content["frameworks"] for item in each["entries"]}


def test_a_pack(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run")
    assert command("evidence", "run", "-o", "before").code == 0
    assert command("evaluate", "run", "training.accelerator=cpu").code == 0
    found = command("evidence", "run")
    assert found.code == 0, found.err
    folder, before = Path("evidence"), entries(Path("before"))
    after = entries(folder)
    assert (before["ai_act Art. 15(1), (3)"]["state"], after["ai_act Art. 15(1), (3)"]["state"]) == ("partly", "filled")
    assert before["ai_act Art. 15(1), (3)"]["missing"] == {"evaluation": "trustseg evaluate RUN"}
    assert after["ai_act Art. 14(4)(b)"]["state"] == "user"  # no review
    for file in (file for item in after.values() for file in item["files"]):
        named = [root / file["path"] for root in (folder, Path("run")) if (root / file["path"]).is_file()]
        assert named or file["path"] == WRITTEN["signature"]
        assert not file["sha256"] or file["sha256"] in map(sha256_of, named)
    for line in (folder / "digests.txt").read_text().splitlines():
        digest, name = line.split("  ")
        assert sha256_of(folder / name) == digest
    bill = json.loads((folder / WRITTEN["sbom"]).read_text())
    assert {"torch", "numpy", "polars"} <= {each["name"] for each in bill["components"]}
    texts = {file: file.read_text() for file in folder.rglob("*") if file.is_file() and file.suffix != ".json"}
    for text in texts.values():
        assert CLAIMS.findall(re.sub(r"</?RegulatoryApproval>", "", text).replace(COVER, "")) == []
    assert not re.search(r"https?:|src=|<script", texts[folder / "index.html"])
    links = re.findall(r'href="([^"]+)"', texts[folder / "index.html"])
    assert all((folder / link).is_file() for link in links)
    sheet = texts[folder / WRITTEN["datasheet"]]
    assert re.findall(r"(\w+) on more than one side of the split: 0 of \d", sheet) == ["patients", "pictures"]
    clean = pl.read_parquet("run/evaluation-test/records.parquet").filter(kind="clean")
    share = clean["mask_px"] / clean["pixels"]
    assert f"{len(share)} test images (evaluation-test), empty: {(share == 0).sum()}, 0% to 1%: " in sheet
    assert f"20% to 100%: {(share >= 0.2).sum()}\n" in sheet
    assert "no deferral policy that could be fitted" in texts[folder / WRITTEN["instructions"]]  # too few patients
    again = command("evidence", "run")
    assert again.code == 2
    assert "--overwrite" in one_sentence(again)


def test_instructions_name_the_worst_conditions_and_the_policy(tmp_path: Path) -> None:
    def around(value: float) -> Interval:
        return Interval(value, value - 0.1, value + 0.1, 30, 30)

    changed = {f"shift {place}": around(0.3 + place / 100) for place in range(12)}
    measured = Measured(tmp_path, 30, 30, {"Dice per image": around(0.6)}, {}, changed)
    spec = SegmenterSpec(architecture="unet", encoder="resnet18", head="beta", size=32, channels=1)
    facts = CardFacts("one", "ab", spec, 1, None, {}, {}, {}, (measured,))
    file = tmp_path / "policy.json"
    save_policy(policy_with(threshold=0.359, at_most=0.2, model="ab"), file)
    assert ARTEFACTS["policy"].find(tmp_path, facts) == [file]
    text = instructions(facts, [file])
    assert "unchanged: 0.600 [0.500, 0.700]; under attacks and shifts, the 10 lowest of 12 that were measured:" in text
    assert "\n- shift 0: 0.300 [0.200, 0.400]\n- shift 1: " in text
    assert "shift 10" not in text
    assert "is above 0.359 to a human. " in text
    save_policy(policy_with(threshold=math.inf, at_most=0.2, model="ab"), file)
    assert ARTEFACTS["policy"].find(tmp_path, facts) == []
    assert "sends no image to a human" in instructions(facts, [file])
    assert "no deferral policy that could be fitted for this model was found" in instructions(facts)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_signature_that_openssh_verifies(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], check=True)
    assert command("evidence", "run", "--sign", "key").code == 0
    Path("signers").write_text(f"me {Path('key.pub').read_text()}")
    verify = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        "signers",
        "-I",
        "me",
        "-n",
        "trustseg",
        "-s",
        "evidence/digests.txt.sig",
    ]
    digests = Path("evidence/digests.txt").read_bytes()
    assert subprocess.run(verify, input=digests, capture_output=True, check=False).returncode == 0
    assert subprocess.run(verify, input=digests + b" ", capture_output=True, check=False).returncode != 0
    for key, words in (("nowhere", "nowhere"), ("signers", "ssh-keygen")):
        found = command("evidence", "run", "--sign", key, "--overwrite")
        assert found.code == 2
        assert words in one_sentence(found)


def review_some(folder: Path, count: int) -> None:
    """Accept the masks of the first cases that nobody has decided on."""
    review = review_of(folder, blind=False)
    numbers = [case.number for case in review.folder.cases if review.state().status(case.number) == "open"]
    for number in numbers[:count]:
        decide(review, number, Reader("Ann Onymous", "reader"), "accept", comment="of P. Atient")


def test_a_review_counts_as_its_log_says(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run")
    images, log, written = Path("images"), Path("out/review/review.sqlite"), Path("evidence/review.json")
    images.mkdir()
    for number in range(20):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(images / f"{number}.png")
    assert command("predict", "run", images, "-o", "out").code == 0
    about = Path("out/prediction.json").read_text()

    def refused(*arguments: str) -> str:
        found = command("evidence", "run", "--review", "out", *arguments)
        assert found.code == 2
        assert not Path("evidence").exists()
        return one_sentence(found)

    def item(*arguments: str) -> dict[str, Any]:
        assert command("evidence", "run", "--overwrite", *arguments).code == 0
        return entries(Path("evidence"))["ai_act Art. 14(4)(b)"]

    assert "trustseg review" in refused()
    review_some(Path("out"), 0)
    assert "no decision" in refused()
    review_some(Path("out"), 19)
    Path("out/review/report.json").write_text(json.dumps({"readers": [{"name": "ann", "decided": 500}]}))
    Path("out/prediction.json").write_text(json.dumps(json.loads(about) | {"model": "of another"}))
    assert "another model" in refused()
    Path("out/prediction.json").write_text(about)
    images.rename("moved")
    assert "--images" in refused()
    found = item("--review", "out", "--images", "moved")
    assert (found["state"], found["short"]) == ("partly", {"review": "19 of at least 20 decisions"})
    Path("moved").rename(images)
    review_some(Path("out"), 1)
    found = item("--review", "out")
    digest = sha256_of(written)
    assert (found["state"], found["files"]) == ("filled", [{"path": "review.json", "sha256": digest}])
    assert digest in Path("evidence/digests.txt").read_text()
    content = json.loads(written.read_text())
    assert (content["decisions"], content["people"]) == (20, 1)
    assert content["about"]["head"] == str(open_store(Path("out")).head())
    assert not re.search("Onymous|Atient", written.read_text())
    Path("out/review").rename("elsewhere")
    assert item("--review", "out", "--state", "elsewhere")["state"] == "filled"
    assert item()["state"] == "user"
    assert not written.exists()  # of the pack before
    shutil.rmtree("evidence")
    Path("elsewhere").rename("out/review")
    (images / "3.png").write_bytes((images / "4.png").read_bytes())
    assert "3.png" in refused()
    connection = sqlite3.connect(log, isolation_level=None)
    connection.execute("DROP TRIGGER log_keeps")
    connection.execute("UPDATE log SET content = replace(content, 'accept', 'reject') WHERE number = 4")
    connection.close()
    assert "entry 4" in refused()
    assert "--review" in one_sentence(command("evidence", "run", "--state", "elsewhere"))
    Path("evidence").write_text("a file")
    assert "'evidence' is a file" in one_sentence(command("evidence", "run"))


def test_the_bill_of_a_package_that_is_not_installed() -> None:
    with pytest.raises(MissingPackageError, match="nobody-installs-this"):
        bill_of_materials("nobody-installs-this")


def test_frameworks_name_artefacts_that_exist(tmp_path: Path) -> None:
    known = [*ARTEFACTS, *WRITTEN]
    frameworks = read_frameworks(known)
    names = {each.key: [item.name for item in each.items] for each in frameworks}
    assert names.keys() >= {"ai_act", "iso_iec"}
    for key, count in (("claim_2024", 44), ("gmlp", 10), ("metrics_radiomics", 30)):
        assert names[key] == [str(number) for number in range(1, count + 1)]
    assert len(names["tripod_ai"]) == len(set(names["tripod_ai"])) == 52
    assert list(dict.fromkeys(name.rstrip("abcdefg") for name in names["tripod_ai"])) == list(map(str, range(1, 28)))
    words = " ".join(f"{each.title} {item.asks}" for each in frameworks for item in each.items)
    assert CLAIMS.findall(words) == []
    (tmp_path / "odd.yaml").write_text("title: odd\nsource: none\nitems: [[1, all, [nothing], filled]]\n")
    with pytest.raises(DataError, match=r"odd\.yaml.*nothing"):
        read_frameworks(known, tmp_path)
