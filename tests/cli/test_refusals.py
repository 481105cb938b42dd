"""Bad input of train, study, evaluate, calibrate and predict: one sentence, exit code 2, and nothing is written."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from tests import fake
from tests.cli.conftest import Command, refusal, write_model
from tests.training.tiny import use_tiny_networks

from trustseg.data import write_phantoms

FPN = "model.architecture=fpn"  # not the one that is replaced by a tiny network
SPECK = np.zeros((64, 64), np.uint8)
SPECK[20, 20] = 255
SLURM = "--cluster slurm slurm.timeout_min=30 --dry-run"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, images and files, most of them unfit for something."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        patch.setenv("TRUSTSEG_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        for name, seed in (("films", 0), ("others", 1)):
            write_phantoms(name, train=8, test=4, control=0, size=32, seed=seed)
        for home, head, fold in (("run", "beta", 1), ("plain", "bernoulli", None), ("unknown", "beta", None)):
            write_model(home, head=head, fold=fold)
        write_model("bare").joinpath("config.yaml").unlink()
        Path("unknown/model/splits.json").unlink()
        write_model("spoilt").joinpath("model", "model.safetensors").write_bytes(b"not weights")
    fake.two_folders(folder / "one", ["only"])
    for name in "abcdef":
        fake.save(fake.image(name, size=(64, 64)), folder / "lost" / "images" / f"{name}.png")
        fake.save(SPECK, folder / "lost" / "masks" / f"{name}.png")
    first = f"{fake.TRAIN[0]}.png"
    corrupt = fake.two_folders(folder / "corrupt") / "images" / first
    corrupt.write_bytes(corrupt.read_bytes()[:60])
    fake.save(fake.mask("x", size=(8, 8)), fake.two_folders(folder / "sizes") / "masks" / first)
    (fake.two_folders(folder / "maskless") / "masks" / first).unlink()
    fake.save(fake.image("fine"), folder / "fine.png")
    (folder / "broken.png").write_bytes((folder / "fine.png").read_bytes()[:50])
    (folder / "empty").mkdir()
    for name, text in {
        "a.yaml": "training: {epochs: 3}\n",
        "b.yaml": "training: {epochs: 3}\n",
        "grid.yaml": "data: {size: 32}\ngrid: {model.head: [beta]}\n",
        "classical.yaml": "model: {head: bernoulli}\ndata: {path: films}\n",
        "list.yaml": "- 1\n",
        "broken.yaml": "model: {head\n",
        "policy.json": "{}",
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train", "set data.path"),
        ("train nowhere.yaml", "no YAML file 'nowhere.yaml'"),
        ("train a.yaml training.epochs", "'training.epochs' has no value; write training.epochs=VALUE"),
        ("study grid.yaml grid", "write grid=VALUE"),
        ("train a.yaml b.yaml", "got 2 files (a.yaml, b.yaml)"),
        ("train data.path=films training.epoch=3", "did you mean 'training.epochs'?"),
        ("train data.path=films training.epochs=[", "training.epochs=["),
        ("train data.path=films data.fold=7", "fold 7"),
        ("train data.path=nowhere", "nowhere"),
        ("train data.path=empty", "empty"),
        *((f"train data.path={name} data.size=32", fake.TRAIN[0]) for name in ("corrupt", "sizes", "maskless")),
        *(
            (f"{verb} {settings}", words)
            for verb in ("train", "study grid.yaml")
            for settings, words in (
                (f"data.path=films {FPN} model.encoder=resnet19", "did you mean 'resnet18'"),
                (f"data.path=films {FPN} model.encoder=mit_b0", "model.accept_noncommercial=true"),
                (f"data.path=films {FPN} model.weights=nowhere.safetensors", "no weights file 'nowhere.safetensors'"),
                ("data.path=one data.size=32", "'one' holds 1 image; training, validation and test need at least 3"),
                ("data.path=lost data.size=32 data.fold=0", "vanishes at 32x32"),
            )
        ),
        ("study training.epochs=3", "no study file"),
        ("study nowhere.yaml", "no YAML file 'nowhere.yaml'"),
        ("study list.yaml", "list.yaml"),
        ("study broken.yaml", "broken.yaml"),
        ("study grid.yaml training.epoch=3", "did you mean 'training.epochs'?"),
        ("study grid.yaml grid.model.head=[beta,gauss]", "gauss"),
        ("study grid.yaml data.path=nowhere", "nowhere"),
        ("study grid.yaml --status", "no study in 'runs/grid' (no plan.json); start it"),
        ("study grid.yaml mixtures.ensemble=true", "set grid.training.seed=[0, 1, 2]"),
        ("study grid.yaml --dry-run", "add --cluster slurm"),
        ("study grid.yaml slurm.timeout_min=5", "add --cluster slurm"),
        ("study grid.yaml --cluster slurm", "slurm.timeout_min=240"),
        ("study grid.yaml --cluster slurm --profile lucie", "did you mean 'lucia'?"),
        (f"study grid.yaml {SLURM} training.devices=2", "cells run in parallel"),
        (f"study grid.yaml {SLURM} model.encoder=resnet0 {FPN}", "resnet0"),
        ("study grid.yaml --hypotheses nowhere.yaml", "no YAML file 'nowhere.yaml'"),
        ("study grid.yaml --hypotheses list.yaml", "has no list 'hypotheses:'"),
        ("evaluate nowhere", "no model folder 'nowhere'"),
        ("evaluate run model.head=bernoulli", "has a beta head, not a bernoulli head"),
        ("evaluate run classical.yaml", "has a beta head, not a bernoulli head"),
        ("evaluate run --split exam", "unknown split 'exam'"),
        ("evaluate run --split control", "the split 'control' of this dataset is empty"),
        ("evaluate bare", "no images given, as 'bare/config.yaml' is not next to the model; set data.path"),
        ("evaluate spoilt", "model.safetensors"),
        ("evaluate run data.fold=null", "--allow-training-patients"),
        ("evaluate run --split train", "--allow-training-patients"),
        ("evaluate run --ensemble plain data.fold=null", "--allow-training-patients"),
        ("evaluate run --dropout 0.2", "needs --mc-dropout"),
        ("evaluate run --mc-dropout 2 --dropout 1.5", "a dropout rate must lie between 0 and 1"),
        ("evaluate run --mc-dropout 2 --dropout 0.2", "has no segmentation_head to place dropout before"),
        ("evaluate run --ensemble nowhere", "no model folder 'nowhere'"),
        ("evaluate run --ensemble run --mc-dropout 2", "cannot be combined"),
        ("evaluate run evaluation.masking_checks=2 evaluation.surrogate=nowhere", "no model folder"),
        ("calibrate run --method temperature", "use evidence"),
        ("calibrate run data.path=others", "not the images that the model was trained and validated on"),
        ("calibrate run data.path=nowhere", "nowhere"),
        ("calibrate run model.head=bernoulli", "has a beta head"),
        ("calibrate unknown", "no splits.json in 'unknown/model'"),
        ("defer masks unknown", "no splits.json in 'unknown/model'"),
        ("defer masks run data.fold=2 --at-most 0.5", "the model was trained or validated on"),
        ("defer masks run --at-most 0.01", "at least 99 are needed"),
        ("defer masks run --at-most 2", "at_most is 2"),
        ("defer certify run --at-most 0.01", "at least 424 are needed"),
        ("defer certify run --noise 0", "noise 0"),
        ("defer certify run --radius=-1", "radius is -1"),
        ("defer certify run --radius 30", "no risk is small enough"),
        ("defer certify run --radius 0.5 --draws 16", "in 16 draws may still fail with chance 0.283 under attack"),
        ("defer certify run --at-most 0.6 --radius 0.1 --delta 0.05", "at least"),
        ("defer certify run --at-most 0.6 --radius 0.1 --delta 0.9 --draws 2", "2 draws of each image"),
        ("defer certify run --measure vacuum", "did you mean 'vacuity'?"),
        ("defer certify run data.fold=2 --at-most 0.6", "the model was trained or validated on"),
        ("predict run nowhere", "no image or folder 'nowhere'"),
        ("predict run empty", "empty"),
        ("predict run broken.png", "broken.png"),
        ("predict run", "--watch"),
        ("predict run fine.png --once", "--watch"),
        ("predict run fine.png --watch in out", "leave IMAGES"),
        ("predict run --watch in out -o there", "leave IMAGES"),
        ("predict run --watch nowhere out", "no inbox"),
        ("predict plain --watch empty out --measure vacuity", "no measure 'vacuity'"),
        ("predict plain fine.png --measure vacuity", "head has no measure 'vacuity'"),
        ("predict run fine.png --measure vacuum", "did you mean 'vacuity'?"),
        ("predict run fine.png --aggregation median", "--aggregation 'median'"),
        ("predict run fine.png --aggregation morans_i", "pattern of a map and not its level"),
        ("predict run fine.png --no-dicom --segment lung", "--segment names"),
        ("predict run fine.png --policy nowhere.json", "no JSON file 'nowhere.json'"),
        ("predict run fine.png --policy policy.json", "is no policy"),
        ("predict run fine.png --noise-seeds none.csv", "noise can only be repeated for a certified"),
        ("predict run fine.png -o policy.json", "'policy.json' is a file"),
        ("predict run fine.png -o empty/..", "is not empty; give another --output, or --overwrite"),
        ("predict nowhere fine.png", "no model folder 'nowhere'"),
        ("predict spoilt fine.png", "model.safetensors"),
        ("report nowhere", "nowhere"),
        ("report run -o out", "--output must be an HTML file, got 'out'; give 'out/report.html'"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_no_trace(
    command: Command, small_and_tidy: None, monkeypatch: pytest.MonkeyPatch, place: Path, line: str, words: str
) -> None:
    if SLURM in line:
        pytest.importorskip("submitit")
    monkeypatch.chdir(place)
    monkeypatch.setenv("TRUSTSEG_CACHE", str(place.parent / "cache"))
    before = sorted(place.rglob("*"))
    assert words in refusal(command(*shlex.split(line)))
    assert sorted(place.rglob("*")) == before
