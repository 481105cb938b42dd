import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trustseg.errors import MissingFileError, ModelError, UnknownNameError
from trustseg.models import (
    Segmenter,
    build_segmenter,
    fetch_encoder_weights,
    load_encoder_weights,
    read_encoder_weights,
)

Weights = dict[str, Tensor]


def encoder_of(segmenter: Segmenter) -> nn.Module:
    encoder = segmenter.network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder


@pytest.fixture(scope="module")
def published() -> Weights:
    """What a hub would give for resnet18: three channels, statistics that have moved."""
    torch.manual_seed(1)
    encoder = smp.encoders.get_encoder("resnet18", in_channels=3, weights=None)
    with torch.no_grad():
        encoder(torch.rand(2, 3, 32, 32))
    return {name: value.clone() for name, value in encoder.state_dict().items()}


@pytest.fixture
def colour() -> Segmenter:
    torch.manual_seed(0)
    return build_segmenter(encoder="resnet18", channels=3)


@pytest.fixture
def grey() -> Segmenter:
    torch.manual_seed(0)
    return build_segmenter(encoder="resnet18", channels=1)


def test_all_tensors_are_taken_over_bit_for_bit(tmp_path: Path, published: Weights, colour: Segmenter) -> None:
    save_file(published, tmp_path / "resnet18.safetensors")
    decoder = {name: value.clone() for name, value in colour.state_dict().items() if ".encoder." not in name}
    load_encoder_weights(colour, tmp_path / "resnet18.safetensors")
    found = encoder_of(colour).state_dict()
    assert all(torch.equal(found[name], value) for name, value in published.items())
    assert all(torch.equal(colour.state_dict()[name], value) for name, value in decoder.items())


def test_a_grey_encoder_says_what_the_colour_one_says_of_grey(
    tmp_path: Path, published: Weights, colour: Segmenter, grey: Segmenter
) -> None:
    save_file(published, tmp_path / "resnet18.safetensors")
    for segmenter in (colour, grey):
        load_encoder_weights(segmenter.eval(), tmp_path / "resnet18.safetensors")
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        of_grey, of_colour = encoder_of(grey)(images), encoder_of(colour)(images.expand(2, 3, 32, 32))
    for one, three in zip(of_grey[1:], of_colour[1:], strict=True):  # the first feature is the image itself
        torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-5)


def test_a_classifier_and_missing_counters_are_no_obstacle(
    tmp_path: Path, published: Weights, colour: Segmenter
) -> None:
    weights = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    weights |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    save_file(weights, tmp_path / "torchvision.safetensors")
    load_encoder_weights(colour, tmp_path / "torchvision.safetensors")
    assert torch.equal(encoder_of(colour).state_dict()["bn1.running_mean"], published["bn1.running_mean"])


def other_encoder(name: str) -> Callable[[Weights], Weights]:
    def replace(weights: Weights) -> Weights:
        other: Weights = smp.encoders.get_encoder(name, in_channels=3, weights=None).state_dict()
        return other

    return replace


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_encoder("resnet34"), "has no place for"),  # holds every tensor of resnet18, in the same shapes
        (other_encoder("resnet50"), "give the weights of the same encoder"),
        (lambda weights: {f"network.encoder.{name}": value for name, value in weights.items()}, "fits 0 of the"),
        (lambda weights: {"x": torch.zeros(1)}, "fits 0 of the"),
        (lambda weights: {name: value for name, value in weights.items() if name != "bn1.bias"}, "not 'bn1.bias'"),
        (lambda weights: weights | {"conv1.weight": weights["conv1.weight"][:, :1].contiguous()}, "not 'conv1.weight'"),
        (lambda weights: weights | {"conv1.weight": weights["conv1.weight"] * torch.nan}, "NaN or infinity in 'conv1"),
    ],
)
def test_a_file_that_fits_in_part_is_refused_and_changes_nothing(
    tmp_path: Path, published: Weights, colour: Segmenter, change: Callable[[Weights], Weights], words: str
) -> None:
    save_file(change(dict(published)), tmp_path / "other.safetensors")
    before = {name: value.clone() for name, value in colour.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_encoder_weights(colour, tmp_path / "other.safetensors")
    assert words in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in colour.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04." * 50, b"PK\x03\x04" + bytes(100), None])
def test_a_file_that_is_none_or_absent_gets_a_sentence(tmp_path: Path, grey: Segmenter, content: bytes | None) -> None:
    file, words = tmp_path / "resnet18.pth", r"resnet18\.pth' is not a readable safetensors file"
    if content is None:
        words = r"trustseg data fetch-encoder resnet18 .*model\.weights=null"
    else:
        file.write_bytes(content)
    with pytest.raises((MissingFileError, ModelError), match=words):
        load_encoder_weights(grey, file)


def test_offline_fetching_gets_a_sentence_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> NoReturn:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", unreachable)
    with pytest.raises(ModelError, match=r"could not be fetched \(ConnectionError\)"):
        fetch_encoder_weights("resnet18", tmp_path / "resnet18.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_fetched_weights_are_what_training_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: Weights, colour: Segmenter
) -> None:
    def hub(repository: str, *, filename: str, revision: str) -> str:
        save_file(published, tmp_path / "model.safetensors")
        settings = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "input_range": [0, 1]}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        return str(tmp_path / filename)

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", hub)
    file = fetch_encoder_weights("resnet18", tmp_path / "new" / "resnet18.safetensors")
    written = load_file(file)
    assert written.keys() == published.keys()
    assert all(torch.equal(written[name], value) for name, value in published.items())
    with pytest.raises(ModelError, match="normalised"):
        load_encoder_weights(colour, file)
    weights = read_encoder_weights(file, "resnet18")
    assert (weights.mean, weights.deviation) == ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    grey = build_segmenter(encoder="resnet18", mean=weights.mean, deviation=weights.deviation).eval()
    load_encoder_weights(grey, weights)
    reference = smp.encoders.get_encoder("resnet18", in_channels=3, weights=None)
    reference.load_state_dict(published)
    images = torch.rand(2, 1, 32, 32)
    normalised = (images.expand(2, 3, 32, 32) - torch.tensor(weights.mean).view(3, 1, 1)) / torch.tensor(
        weights.deviation
    ).view(3, 1, 1)
    found: list[Tensor] = []
    encoder_of(grey).register_forward_hook(lambda module, given, features: found.extend(features))
    with torch.no_grad():
        grey.belief(images)
        for feature, expected in zip(found, reference.eval()(normalised), strict=True):
            torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize(
    ("encoder", "weights", "words"),
    [
        ("resnet81", "imagenet", "did you mean 'resnet18'"),  # not blamed on the network
        ("resnet18", "imagnet", "did you mean 'imagenet'"),
        ("mit_b0", "imagenet", "NVIDIA"),
        ("tu-mobileone_s0", "imagenet", "Apple"),
        ("resnet18", "swsl", "CC BY-NC"),
        ("resnext101_32x8d", "instagram", "CC BY-NC"),
        ("tu-convnextv2_atto", "imagenet", "cc-by-nc"),
    ],
)
def test_unknown_weights_and_those_under_other_terms_are_refused(
    tmp_path: Path, encoder: str, weights: str, words: str
) -> None:
    with pytest.raises((ModelError, UnknownNameError), match=words):
        fetch_encoder_weights(encoder, tmp_path / "x.safetensors", weights=weights)
