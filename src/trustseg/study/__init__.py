"""Studies: a grid of trainings, its runner, and the statistics of what they recorded."""
