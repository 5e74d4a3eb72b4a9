"""Adapters: a module and a loss become one pure callable, ``model(params, batch) -> losses``."""

from lltc.models.adapter import Model
from lltc.models.batches import split_inputs, split_targets
from lltc.models.behavioral import Behavioral, behavioral
from lltc.models.from_equinox import equinox
from lltc.models.from_flax import flax_linen, flax_nnx
from lltc.models.from_haiku import haiku
from lltc.models.from_hugging_face import hugging_face
from lltc.models.from_keras import keras
from lltc.models.from_numpyro import numpyro_model, unconstrained
from lltc.models.from_torch import torch, torch_exported
from lltc.models.losses import cross_entropy, squared, token_cross_entropy

__all__ = [
    "Behavioral",
    "Model",
    "behavioral",
    "cross_entropy",
    "equinox",
    "flax_linen",
    "flax_nnx",
    "haiku",
    "hugging_face",
    "keras",
    "numpyro_model",
    "split_inputs",
    "split_targets",
    "squared",
    "token_cross_entropy",
    "torch",
    "torch_exported",
    "unconstrained",
]
