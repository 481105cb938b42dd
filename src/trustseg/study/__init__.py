"""Studies: a grid of trainings, its runner, and what was asked of it."""
