import json
import socket
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from tests.models.built import SMALL, smallest_encoder
from torch import nn

from trustseg.errors import ModelError, UnknownNameError
from trustseg.models import ARCHITECTURES, Segmenter, build_segmenter
from trustseg.models.architectures import check_licence


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        pytest.fail(f"the network was asked for {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", refuse)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("head", "channels", "encoder"), [("bernoulli", 3, "resnet18"), ("beta", 1, SMALL)])
def test_every_architecture_takes_every_size_and_is_undecided(
    architecture: str, head: str, channels: int, encoder: str
) -> None:
    torch.manual_seed(0)
    encoder = "resnet50" if architecture == "fcn" else encoder
    segmenter = build_segmenter(architecture=architecture, encoder=encoder, head=head, channels=channels)
    with torch.no_grad():
        start = segmenter.belief(torch.rand(4, channels, 32, 32))  # batch statistics, as in the first training step
        assert 0.2 < float(start.probability.mean()) < 0.8
        segmenter.eval()
        for height, width in ((33, 50), (1, 1)):  # odd, not square, smaller than the stride
            belief = segmenter.belief(torch.rand(1, channels, height, width))
            assert belief.probability.shape == (1, 1, height, width)
            assert belief.probability.dtype == torch.float32
            assert bool(torch.isfinite(belief.log_odds).all())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_an_encoder_and_registers_it_once(architecture: str) -> None:
    network = ARCHITECTURES[architecture](smallest_encoder(architecture), channels=1, outputs=1)
    assert isinstance(network.encoder, nn.Module)
    state = network.state_dict()
    places = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(set(places)) == len(places)
    inside = {value.data_ptr() for value in network.encoder.state_dict().values()}
    assert inside <= set(places)


@pytest.mark.parametrize("architecture", ["unet", "unet_plus_plus"])
def test_a_shallow_network_is_smaller_and_survives_its_file(architecture: str, tmp_path: Path) -> None:
    deep, shallow = (build_segmenter(architecture=architecture, encoder=SMALL, depth=depth).eval() for depth in (5, 3))
    assert sum(value.numel() for value in shallow.parameters()) < sum(value.numel() for value in deep.parameters())
    images = torch.rand(1, 1, 40, 56)
    again = Segmenter.load(shallow.save(tmp_path / "model"))
    with torch.no_grad():
        assert torch.equal(again.belief(images).probability, shallow.belief(images).probability)


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"unet", "unet_plus_plus"}))
def test_other_networks_have_one_depth(architecture: str) -> None:
    with pytest.raises(ModelError, match=r"model\.depth=4 is only for unet"):
        build_segmenter(architecture=architecture, encoder=smallest_encoder(architecture), depth=4)


@pytest.mark.parametrize("encoder", ["mit_b0", "mobileone_s1", "tu-mobileone_s0"])
def test_encoders_under_other_terms_need_a_word(encoder: str) -> None:
    with pytest.raises(ModelError, match=r"set model\.accept_noncommercial=true"):
        build_segmenter(encoder=encoder)
    check_licence(encoder, accept_noncommercial=True)
    for free in ("resnet18", "efficientnet-b0", "tu-resnet18"):
        check_licence(free, accept_noncommercial=False)


@pytest.mark.parametrize(
    ("architecture", "encoder", "words"),
    [
        ("unet", "resnet81", "did you mean 'resnet18'"),
        ("unet", "convnext_tiny", "did you mean 'tu-convnext_tiny'"),
        ("fcn", "resnet18", "unknown encoder for fcn 'resnet18'"),
        ("unet", "", "unknown encoder ''"),
        ("unet", "tu-resnet18x", "did you mean 'tu-resnet18'"),
        *(("unet", f"tu-{name}", "unknown encoder") for name in ("hf-hub:a/b", "local-dir:/", "resnet18.hf-hub:a", "")),
        ("deeplab_v3", "timm/hf-hub:a/b", "unknown encoder"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_an_unknown_encoder_names_the_nearest(architecture: str, encoder: str, words: str) -> None:
    with pytest.raises(UnknownNameError, match=words):
        build_segmenter(architecture=architecture, encoder=encoder)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [("unet", "tu-vit_tiny_patch16_224"), ("deeplab_v3", "vgg11"), ("unet_plus_plus", "mit_b0")],
)
def test_parts_that_do_not_fit_get_a_sentence(architecture: str, encoder: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be built on encoder .*choose another model\.encoder") as caught:
        build_segmenter(architecture=architecture, encoder=encoder, accept_noncommercial=True)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("encoder", ["tu-hf-hub:a/b", "tu-local-dir:/etc"])
def test_a_model_from_elsewhere_names_no_hub_and_no_folder(tmp_path: Path, encoder: str) -> None:
    folder = build_segmenter(encoder=SMALL, depth=3).save(tmp_path / "model")
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(about | {"encoder": encoder}), encoding="utf-8")
    with pytest.raises(UnknownNameError, match=encoder):
        Segmenter.load(folder)
