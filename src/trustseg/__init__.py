"""Medical image segmentation models that know when not to be trusted."""

__version__ = "0.1.0"
