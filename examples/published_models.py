"""Two published networks for retinal vessels, as `trustseg audit` takes them; needs their repositories and DRIVE.

Usage: python examples/published_models.py RETINA_UNET DRIVE -o FOLDER
       RETINA_UNET is a clone of orobix/retina-unet, DRIVE holds test/images, test/1st_manual.

It writes FOLDER/drive.csv and FOLDER/retina_unet.csv, manifests of the 20 test images, for the second one
preprocessed as its authors do, and FOLDER/retina_unet.safetensors, its weights. It needs h5py and opencv-python.
docs/results/audits has the commands that follow, and what they found.
"""

import argparse
import csv
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu


def little_wnet() -> nn.Module:
    """Return the W-Net of Galdran et al. (arXiv:2009.01907); run where its package ``models`` can be imported."""
    model: nn.Module = import_module("models.get_model").get_arch("wnet")
    model.mode = "eval"  # type: ignore[assignment]  # it then returns its second map only
    return model


class RetinaUNet(nn.Module):
    """The U-Net of orobix/retina-unet, written anew in torch: (B, 1, H, W) to probabilities (B, 2, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (192, 64), (64, 64), (96, 32), (32, 32)]
        layers = [nn.Conv2d(before, after, 3, padding=1) for before, after in widths]
        self.convs = nn.ModuleList([*layers, nn.Conv2d(32, 2, 1)])

    def forward(self, images: Tensor) -> Tensor:
        """Return background and vessel probability."""
        first = self._two(images, 0)
        second = self._two(max_pool2d(first, 2), 2)
        deepest = self._two(max_pool2d(second, 2), 4)
        up = self._two(torch.cat([interpolate(deepest, scale_factor=2), second], dim=1), 6)
        up = self._two(torch.cat([interpolate(up, scale_factor=2), first], dim=1), 8)
        return torch.softmax(relu(self.convs[10](up)), dim=1)

    def _two(self, values: Tensor, number: int) -> Tensor:
        return relu(self.convs[number + 1](relu(self.convs[number](values))))


def retina_unet() -> nn.Module:
    """Return the network without weights."""
    return RetinaUNet()


def convert_weights(source: Path, target: Path) -> None:
    """Write Keras weights as safetensors; their backend convolves, torch correlates, so kernels are turned over."""
    h5py = import_module("h5py")
    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {}
    with h5py.File(source) as file:
        groups = [file[name] for name in file.attrs["layer_names"]]
        layers = [[group[name][()] for name in group.attrs["weight_names"]] for group in groups]
    for number, (kernel, bias) in enumerate(layer for layer in layers if layer):
        tensors[f"convs.{number}.weight"] = np.ascontiguousarray(kernel[:, :, ::-1, ::-1])
        tensors[f"convs.{number}.bias"] = bias
    save_file(tensors, target)


def preprocess(images: list[np.ndarray]) -> list[np.ndarray]:
    """Return grey levels normalised over the data set, with local contrast and gamma as the authors set them."""
    cv2 = import_module("cv2")
    grey = np.stack([image @ (0.299, 0.587, 0.114) for image in images])
    grey = (grey - grey.mean()) / grey.std()
    local = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    table = (255 * (np.arange(256) / 255) ** (1 / 1.2)).astype(np.uint8)
    return [table[local.apply((255 * (each - each.min()) / np.ptp(each)).astype(np.uint8))] for each in grey]


def main() -> None:
    """Write manifests, weights and preprocessed images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("retina_unet", type=Path)
    parser.add_argument("drive", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("published"))
    given = parser.parse_args()
    folder = given.output.absolute()
    (folder / "grey").mkdir(parents=True, exist_ok=True)
    convert_weights(given.retina_unet / "test" / "test_best_weights.h5", folder / "retina_unet.safetensors")
    films = sorted((given.drive.absolute() / "test" / "images").glob("*_test.tif"))
    grey = preprocess([np.asarray(Image.open(film).convert("RGB"), np.float64) for film in films])
    rows: dict[str, list[list[object]]] = {"drive": [], "retina_unet": []}
    for film, levels in zip(films, grey, strict=True):
        number = film.name[:2]
        mask = film.parents[1] / "1st_manual" / f"{number}_manual1.gif"
        picture = folder / "grey" / f"{number}.png"
        Image.fromarray(levels).save(picture)
        rows["drive"].append([film, mask, number, "test"])
        rows["retina_unet"].append([picture, mask, number, "test"])
    for name, table in rows.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["image", "mask", "patient", "split"], *table])


if __name__ == "__main__":
    main()
