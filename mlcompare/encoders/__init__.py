"""Encoders: images or features → embeddings."""

from mlcompare.encoders import conv, features, hog, l_softmax_net, lenetpp, resnet, timm_models, transformers_models
from mlcompare.encoders.base import (
    ENCODERS,
    EncoderSpec,
    create_encoder,
    get_encoder_spec,
    list_encoders,
    register_encoder,
    register_encoder_family,
)

__all__ = [
    "ENCODERS",
    "EncoderSpec",
    "conv",
    "create_encoder",
    "features",
    "get_encoder_spec",
    "hog",
    "l_softmax_net",
    "lenetpp",
    "list_encoders",
    "register_encoder",
    "register_encoder_family",
    "resnet",
    "timm_models",
    "transformers_models",
]
