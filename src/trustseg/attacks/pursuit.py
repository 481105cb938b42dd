"""A search for the best admissible image, judged by the model's uncertainty instead of by harm."""

from collections.abc import Callable

import torch
from torch import Tensor

from trustseg.attacks.projections import LINF
from trustseg.attacks.search import Model, Search, require_steps, where_images
from trustseg.beliefs import Belief
from trustseg.errors import AttackError, ShapeError

__all__ = ["Aim", "Pursuit", "Score"]

Score = Callable[[Belief], Tensor]  # a belief to the uncertainty of each image (B,), higher = less sure
Aim = Callable[[Belief, Tensor, Tensor], Tensor]  # belief, masks and scores (B,) to a value (B,)


class Pursuit:
    """One attack on the score of one batch, within an L-infinity ball, to be used inside ``isolated(model)``.

    Attributes:
        masks: the masks on the device and in the type of the images.
        belief: the model's last belief; after construction, about the clean images.
        scores: (B,), its scores.
    """

    belief: Belief
    scores: Tensor

    def __init__(
        self, model: Model, images: Tensor, masks: Tensor, *, eps: float | Tensor, score: Score, steps: int
    ) -> None:
        require_steps(steps)
        self._score, self._steps = score, steps
        self._aim: Aim = lambda belief, masks, scores: scores
        self._search = Search(model, images, masks, eps=eps, objective=self._objective, keep_best=False)
        self._search.gradient(self._search.images, progress=0.0)
        self.masks = self._search.masks
        self._best = self._search.images
        self._preference = torch.full_like(self.scores, -torch.inf)

    def run(self, aim: Aim, preference: Aim, *, stride: float) -> None:
        """Climb ``aim`` from the clean images; keep per image the first iterate of largest ``preference``.

        Args:
            aim: what the gradient follows.
            preference: -inf where an image is not admissible; the same in every run of one pursuit.
            stride: length of a step in units of eps.
        """
        self._aim = aim
        images, radius = self._search.images, self._search.radius
        candidates = images
        for step in range(self._steps):
            gradient = self._search.gradient(candidates, progress=step / self._steps)
            self._keep(candidates, preference)
            candidates = LINF.project(candidates + stride * radius * LINF.direction(gradient), images, radius)
        self._search.value(candidates, progress=(self._steps - 1) / self._steps)
        self._keep(candidates, preference)

    def result(self) -> Tensor:
        """Return the images kept, or raise an AttackError if an aim, a score or a gradient was not finite."""
        return self._search.result(self._best)

    def _objective(self, belief: Belief, masks: Tensor, progress: float) -> Tensor:
        """Return the aim; keep belief and scores for ``_keep``."""
        scores = self._score(belief)
        if scores.shape != (len(masks),):
            raise ShapeError(
                f"the score returned shape {tuple(scores.shape)}, expected {(len(masks),)}, one value per image; "
                "use for example AGGREGATIONS['mean']"
            )
        if belief.log_odds.requires_grad and not scores.requires_grad:
            raise AttackError(
                "got a score without a gradient; attack a mean in place of a count, for example AGGREGATIONS['mean']"
            )
        self.belief, self.scores = belief, scores
        return self._aim(belief, masks, scores)

    @torch.no_grad()
    def _keep(self, candidates: Tensor, preference: Aim) -> None:
        """Keep each candidate, just seen by the model, of larger ``preference`` than the best before it."""
        values = preference(self.belief, self.masks, self.scores)
        better = values > self._preference
        self._best = where_images(better, candidates, self._best)
        self._preference = torch.where(better, values, self._preference)
