"""Encoders: images or features → embeddings."""

from mlcompare.encoders import conv, features
from mlcompare.encoders.base import EncoderSpec, create_encoder, list_encoders, register_encoder

__all__ = ["EncoderSpec", "conv", "create_encoder", "features", "list_encoders", "register_encoder"]
