"""Segmenters: normalisation, network and head in one module that turns images into beliefs; alone or in mixtures.

A model is called with images (B, C, H, W) float in [0, 1], any H and W, and returns a belief whose maps are (B, 1, H,
W) float32; another number of channels or dimensions is a ShapeError. ``belief(images)`` is the same with a type,
``spec`` what the model is built from (of a mixture, its first member), ``passes`` the forward passes of a network that
one belief takes, and ``weights()`` everything else that its beliefs depend on, as the content of a safetensors file
that does not change between runs.
"""

from trustseg.models.architectures import ARCHITECTURES
from trustseg.models.inference import BeliefModel, device_of
from trustseg.models.mixtures import DeepEnsemble, MCDropout, with_dropout
from trustseg.models.segmenter import Segmenter, build_segmenter
from trustseg.models.spec import HEADS
from trustseg.models.weights import fetch_encoder_weights, load_encoder_weights, read_encoder_weights

__all__ = [
    "ARCHITECTURES",
    "HEADS",
    "BeliefModel",
    "DeepEnsemble",
    "MCDropout",
    "Segmenter",
    "build_segmenter",
    "device_of",
    "fetch_encoder_weights",
    "load_encoder_weights",
    "read_encoder_weights",
    "with_dropout",
]
