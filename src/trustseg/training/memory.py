"""Scores of images from the last time they were trained on: images are chosen to be attacked without a forward pass."""

import math

import torch
from torch import Tensor

from trustseg.training.mixed_batch import selection_facts

__all__ = ["ScoreMemory"]


class ScoreMemory:
    """The last clean score of every image and the epoch it is from.

    An image that is attacked in the place of its original yields no clean score: its old one stays and ages. Left
    alone, one that ranks first once would rank first for ever; so a score older than ``refresh_epochs`` >= 1 goes to
    the end of the ranking, and its image is left clean to get a new one. An image without any score comes first; it is
    as old as the training, so that after ``refresh_epochs`` epochs it, too, is left clean.

    In a distributed training each process remembers the images it saw; ``share`` makes them one at the end of an epoch.

    Attributes:
        scores: (images,) float32, NaN where there is none yet; on the CPU until ``to`` moves them.
        epochs: (images,) int64, the epoch of the score; -1 where there is none yet.
    """

    def __init__(self, images: int, *, refresh_epochs: int) -> None:
        self.refresh_epochs = refresh_epochs
        self.scores = torch.full((images,), math.nan)
        self.epochs = torch.full((images,), -1)
        self._recalled: list[Tensor] = []  # of each recall, the sum of the known scores' ages and how many there are

    def to(self, device: torch.device) -> None:
        """Move the scores to where batches are trained on, so that a GPU is never waited for."""
        self.scores, self.epochs = self.scores.to(device), self.epochs.to(device)

    def remember(self, rows: Tensor, scores: Tensor, *, epoch: int) -> None:
        """Keep the scores (B,) that the images of these rows (B,) got clean; NaN is not kept."""
        scores = scores.detach().float()
        known = ~scores.isnan()
        self.scores[rows] = torch.where(known, scores, self.scores[rows])
        self.epochs[rows] = torch.where(known, epoch, self.epochs[rows])

    def ages(self, rows: Tensor, *, epoch: int) -> Tensor:
        """Return how many epochs old the score of each image is, (B,) int64 >= 0; epoch + 1 if there is none."""
        return epoch - self.epochs[rows]

    def recall(self, rows: Tensor, *, epoch: int, selection: str) -> Tensor:
        """Return the scores of these rows to choose by, (B,) float32 without NaN, in the order of ``selection``.

        Images without a score come first, those to be renewed last.
        """
        first, last = selection_facts(selection).ends
        scores, ages = self.scores[rows], self.ages(rows, epoch=epoch)
        known = ages <= epoch
        self._recalled.append(torch.stack([(ages * known).sum(), known.sum()]))
        scores = torch.where(scores.isnan(), first, scores)
        return torch.where(ages > self.refresh_epochs, last, scores)

    def mean_age(self) -> float | None:
        """Return how many epochs old the scores were that were recalled since the last call; None without any."""
        ages = torch.stack(self._recalled).sum(dim=0).tolist() if self._recalled else [0, 0]
        self._recalled.clear()
        return ages[0] / ages[1] if ages[1] else None

    def share(self) -> None:
        """Give all processes the latest score of each image, the mean where several have one of the same epoch."""
        latest = self.epochs.clone()
        torch.distributed.all_reduce(latest, op=torch.distributed.ReduceOp.MAX)
        mine = (self.epochs == latest) & (latest >= 0)
        total = torch.where(mine, self.scores.nan_to_num(), 0.0)
        count = mine.float()
        torch.distributed.all_reduce(total)
        torch.distributed.all_reduce(count)
        self.scores = torch.where(latest >= 0, total / count, math.nan)
        self.epochs = latest

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return {"scores": self.scores, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what a checkpoint kept."""
        device = self.scores.device
        self.scores, self.epochs = (state[name].to(device, copy=True) for name in ("scores", "epochs"))
