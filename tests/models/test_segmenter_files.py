"""What a model writes is read again bit for bit; a spoilt file gets one sentence."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.built import SMALL

from trustseg.errors import MissingFileError, ModelError, UnknownNameError
from trustseg.models import Segmenter, build_segmenter

Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("architecture", "encoder", "head", "channels"),
    [("unet", "resnet18", "bernoulli", 3), ("deeplab_v3_plus", SMALL, "beta", 1)],
)
def test_a_saved_model_is_loaded_bit_for_bit(
    tmp_path: Path, architecture: str, encoder: str, head: str, channels: int
) -> None:
    segmenter = build_segmenter(
        architecture=architecture, encoder=encoder, head=head, channels=channels, size=96, prior=0.5
    ).to(memory_format=torch.channels_last)
    images = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        segmenter.belief(images)  # move the batch statistics
        expected = segmenter.eval().belief(images)
        segmenter.train().save(tmp_path / "model")
        again = Segmenter.load(tmp_path / "model", head=head)
        found = again.belief(images)
    assert again.spec == segmenter.spec
    assert not again.training
    assert {name: value.dtype for name, value in again.state_dict().items()} == {
        name: value.dtype for name, value in segmenter.state_dict().items()
    }
    assert all(torch.equal(value, segmenter.state_dict()[name]) for name, value in again.state_dict().items())
    torch.testing.assert_close(found.log_odds, expected.log_odds)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path, trained: Segmenter) -> None:
    trained.save(tmp_path)
    before = torch.random.get_rng_state()
    Segmenter.load(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_model_of_another_head_is_refused_with_both_names(tmp_path: Path, trained: Segmenter) -> None:
    with pytest.raises(ModelError, match=r"has a beta head, not a bernoulli head; set model\.head=beta"):
        Segmenter.load(trained.save(tmp_path), head="bernoulli")


def changed(**fields: object) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / "model.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))

    return spoil


def one_bit_flipped(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def other_weights(head: str) -> Spoil:
    def spoil(folder: Path) -> None:
        other = build_segmenter(encoder=SMALL, head=head).save(folder / "other")
        (other / "model.safetensors").replace(folder / "model.safetensors")

    return spoil


def without_a_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("network.encoder.model.bn1.weight")
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "model.json").write_text("{"), "model.json' is not a model description"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"), "is not a model description"),
        (lambda folder: (folder / "model.json").write_text("[1]"), "is not a model description"),
        (lambda folder: (folder / "model.json").write_text("3"), "is not a model description"),
        (lambda folder: (folder / "model.json").write_text("{}"), "is not a model description"),
        (changed(surprise=1), "is not a model description"),
        (changed(architecture=["unet"]), "architecture is ['unet']"),
        (changed(prior="1"), "prior is '1'"),
        (changed(size=True), "size is True"),
        (changed(deviation=0), "above 0 and finite"),
        (changed(channels=2), "1 or 3 channels"),
        (changed(architecture="unit"), "did you mean 'unet'"),
        (changed(head="gauss"), "unknown head 'gauss'"),
        (changed(format=2, novelty=3), "has format 2, expected 1"),
        (changed(encoder="resnet34"), "does not match model.json"),
        (changed(architecture="fpn"), "copy both files from the same run"),
        (
            changed(head="bernoulli"),
            "has shape (2, 16, 3, 3) instead of (1, 16, 3, 3)), which describes a bernoulli unet",
        ),
        (other_weights("bernoulli"), "copy both files from the same run"),
        (other_weights("beta"), "sha256 differs"),
        (one_bit_flipped, "sha256 differs"),
        (truncated, "copy both files from the same run"),
        (without_a_tensor, "copy both files from the same run"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "is damaged"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04." * 99), "is damaged"),  # a pickle
    ],
)
def test_a_spoilt_model_gets_one_sentence(tmp_path: Path, trained: Segmenter, spoil: Spoil, words: str) -> None:
    trained.save(tmp_path)
    spoil(tmp_path)
    with pytest.raises((ModelError, UnknownNameError)) as caught:
        Segmenter.load(tmp_path)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 600


def test_a_description_of_an_older_version_is_still_read(tmp_path: Path, trained: Segmenter) -> None:
    trained.save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    for name in ("sha256", "dropout", "depth", "decoder_channels", "evidence"):
        del about[name]
    (tmp_path / "model.json").write_text(json.dumps(about | {"mean": 0.5, "deviation": 0.25}))
    assert Segmenter.load(tmp_path).spec == trained.spec


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors", ""])
def test_a_missing_file_is_named(tmp_path: Path, trained: Segmenter, missing: str) -> None:
    if missing:
        trained.save(tmp_path)
        (tmp_path / missing).unlink()
    with pytest.raises(MissingFileError, match=f"no {missing or 'model.json'} in .*'model' folder"):
        Segmenter.load(tmp_path)


def test_a_full_disk_leaves_the_old_model_whole(
    tmp_path: Path, trained: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.save(tmp_path)

    def fill(file: Path, content: bytes) -> NoReturn:
        with file.open("wb") as stream:
            stream.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    other = build_segmenter(encoder=SMALL, head="beta")
    with monkeypatch.context() as context:
        context.setattr(Path, "write_bytes", fill)
        with pytest.raises(OSError, match="No space left"):
            other.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert Segmenter.load(tmp_path).weights() == trained.weights()
