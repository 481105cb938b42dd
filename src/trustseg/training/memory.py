"""Scores of images from the last time they were trained on: choosing whom to attack without a forward pass for it."""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

__all__ = ["ScoreMemory"]

# selection -> the scores that rank first and last in it
ENDS: Final[Mapping[str, tuple[float, float]]] = {
    "certain": (-math.inf, math.inf),
    "proportional": (math.inf, 0.0),
}


class ScoreMemory:
    """The last clean score of every image and the epoch it is from.

    An image that is attacked in the place of its original yields no clean score: its old one stays and ages. Left
    alone, one that ranks first once would rank first for ever; so a score older than ``refresh_epochs`` goes to the end
    of the ranking, and its image is left clean to get a new one. An image without any score comes first; it is as old
    as the training, so that after ``refresh_epochs`` epochs it, too, goes to the end and is left clean.

    In a distributed training each process remembers the images it saw; ``share`` makes them one at the end of an epoch.

    Args:
        images: how many there are.
        refresh_epochs: age in epochs beyond which a score has to be renewed, >= 1.

    Attributes:
        scores: (images,) float32, NaN where there is none yet.
        epochs: (images,) int64, the epoch of the score; -1 where there is none yet.
    """

    def __init__(self, images: int, *, refresh_epochs: int = 5) -> None:
        self.refresh_epochs = refresh_epochs
        self.scores = torch.full((images,), math.nan)
        self.epochs = torch.full((images,), -1)

    def remember(self, rows: Tensor, scores: Tensor, *, epoch: int) -> None:
        """Keep new scores.

        Args:
            rows: (B,) which images.
            scores: (B,) their scores under a clean forward pass; one that is not a number is not kept.
            epoch: the epoch, counted from 0.
        """
        scores = scores.detach().float().cpu()
        known = ~scores.isnan()
        self.scores[rows.cpu()[known]] = scores[known]
        self.epochs[rows.cpu()[known]] = epoch

    def ages(self, rows: Tensor, *, epoch: int) -> Tensor:
        """Return how many epochs old the score of each image is, (B,) int64 >= 0; epoch + 1 if there is none."""
        return epoch - self.epochs[rows.cpu()]

    def recall(self, rows: Tensor, *, epoch: int, selection: str) -> Tensor:
        """Return the scores to choose by.

        Args:
            rows: (B,) which images.
            epoch: the epoch, counted from 0.
            selection: how images are chosen: what ranks first differs.

        Returns:
            (B,) float32 without NaN, on the CPU: those without a score first, those to be renewed last; from epoch
            ``refresh_epochs`` on those without a score are to be renewed.
        """
        first, last = ENDS.get(selection, (math.inf, -math.inf))
        scores = self.scores[rows.cpu()].clone()
        scores[scores.isnan()] = first
        scores[self.ages(rows, epoch=epoch) > self.refresh_epochs] = last
        return scores

    def share(self, device: torch.device) -> None:
        """Give all processes the latest score of each image, the mean where several have one of the same epoch.

        Args:
            device: where the processes exchange tensors.
        """
        latest = self.epochs.to(device, copy=True)
        torch.distributed.all_reduce(latest, op=torch.distributed.ReduceOp.MAX)
        mine = (self.epochs.to(device) == latest) & (latest >= 0)
        total = torch.where(mine, self.scores.nan_to_num().to(device), 0.0)
        count = mine.float()
        torch.distributed.all_reduce(total)
        torch.distributed.all_reduce(count)
        self.scores = torch.where(latest >= 0, total / count, math.nan).cpu()
        self.epochs = latest.cpu()

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return {"scores": self.scores, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what a checkpoint kept."""
        self.scores, self.epochs = state["scores"].cpu().clone(), state["epochs"].cpu().clone()
