"""A pack names files that are there with their hashes, claims nothing, and opens without a network."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, Outcome, command, films, one_sentence, train

from trustseg.cards.hugging_face import COVER
from trustseg.errors import DataError
from trustseg.evidence import read_frameworks
from trustseg.evidence.artefacts import ARTEFACTS, WRITTEN

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
    assert before["ai_act Art. 15(1), (3)"]["missing"] == ["evaluation"]
    assert after["ai_act Art. 14(4)(b)"]["state"] == "user"  # no review
    for item in after.values():
        for file in item["files"]:
            roots = [root / file["path"] for root in (folder, Path("run")) if (root / file["path"]).is_file()]
            assert roots or file["path"] == WRITTEN["signature"]
            assert not file["sha256"] or file["sha256"] in [hashlib.sha256(f.read_bytes()).hexdigest() for f in roots]
    for line in (folder / "digests.txt").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    bill = json.loads((folder / WRITTEN["sbom"]).read_text())
    assert {"torch", "numpy", "polars"} <= {each["name"] for each in bill["components"]}
    texts = {file: file.read_text() for file in folder.rglob("*") if file.is_file() and file.suffix != ".json"}
    for text in texts.values():
        assert CLAIMS.findall(re.sub(r"</?RegulatoryApproval>", "", text).replace(COVER, "")) == []
    assert not re.search(r"https?:|src=|<script", texts[folder / "index.html"])
    links = re.findall(r'href="([^"]+)"', texts[folder / "index.html"])
    assert all((folder / link).is_file() for link in links)
    assert "patients on more than one side of the split: 0 of" in (folder / "datasheet.md").read_text()
    again = command("evidence", "run")
    assert again.code == 2
    assert "--overwrite" in one_sentence(again)


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


def test_a_review_of_this_model_serves_items(command: Command, train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    image = next(file for file in films.rglob("*.*") if not file.name.startswith("mask_"))
    assert command("predict", "run", image, "-o", "out").code == 0
    report = Path("out/review/report.json")

    def refused() -> str:
        found = command("evidence", "run", "--review", "out")
        assert found.code == 2
        return one_sentence(found)

    assert "trustseg review report out" in refused()
    report.parent.mkdir()
    report.write_text(json.dumps({"readers": [{"name": "ann", "decided": 0}]}))
    assert "no decision" in refused()
    report.write_text(json.dumps({"readers": [{"name": "ann", "decided": 19}]}))
    about = json.loads(Path("out/prediction.json").read_text())
    Path("out/prediction.json").write_text(json.dumps(about | {"model": "of another"}))
    assert "another model" in refused()
    Path("out/prediction.json").write_text(json.dumps(about))
    assert command("evidence", "run", "--review", "out", "-o", "few").code == 0
    item = entries(Path("few"))["ai_act Art. 14(4)(b)"]
    assert (item["state"], item["short"]) == ("partly", {"review": "19 of at least 20 decisions"})
    report.write_text(json.dumps({"readers": [{"name": "ann", "decided": 19}, {"name": "ben", "decided": 1}]}))
    assert command("evidence", "run", "--review", "out").code == 0
    item = entries(Path("evidence"))["ai_act Art. 14(4)(b)"]
    assert item["state"] == "filled"
    assert item["files"] == [{"path": "review/report.json", "sha256": hashlib.sha256(report.read_bytes()).hexdigest()}]


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
