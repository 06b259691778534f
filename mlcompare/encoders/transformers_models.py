"""Any vision model of Hugging Face transformers as an encoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mlcompare.encoders.base import register_encoder_family
from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = ["PooledVision", "transformers_model"]


class PooledVision(nn.Module):
    """A vision model's pooled output ``(B, F)``: its pooler's, else the mean of its last hidden state."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        output = self.model(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden = output.last_hidden_state
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))


@register_encoder_family("transformers", takes="images")
def transformers_model(
    model: str, input_shape: tuple[int, ...], embedding_dim: int, pretrained: bool = False, config: dict | None = None
) -> nn.Module:
    """``transformers:<model>``: a vision model's pooled output, then a linear layer.

    Args:
        model: a model type (``vit``, ``resnet``, ``convnext``) built with random weights from ``config``; with
            ``pretrained: true`` the name or folder of saved weights, which are downloaded where need be.
        config: values of the model's configuration (``hidden_size: 32``); image size and channels are the dataset's.

    Raises:
        InvalidValueError: transformers (the extra ``[transformers]``) can't be imported, or the model can't be built.
        UnknownNameError: transformers has no such model type.
    """
    place = f"transformers:{model}"
    try:
        from transformers import CONFIG_MAPPING, AutoConfig, AutoModel
    except (ImportError, RuntimeError) as error:
        cure = "pip install 'mlcompare[transformers]'"
        rule = "transformers must be importable"
        raise InvalidValueError(rule, value=str(error).splitlines()[0], cure=cure, place=place) from None
    values: dict[str, Any] = {"image_size": list(input_shape[1:]), "num_channels": input_shape[0], **(config or {})}
    try:
        if pretrained:
            body = AutoModel.from_pretrained(model, **(config or {}))
        elif model not in CONFIG_MAPPING:
            raise UnknownNameError(
                "unknown transformers model type", value=model, cure=did_you_mean(model, list(CONFIG_MAPPING.keys()))
            )
        else:
            body = AutoModel.from_config(AutoConfig.for_model(model, **values))
    except (ValueError, TypeError, OSError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidValueError("transformers must be able to build it", value=reason, place=place) from None
    size = getattr(body.config, "hidden_size", None) or body.config.hidden_sizes[-1]
    encoder = nn.Sequential(PooledVision(body), nn.Linear(size, embedding_dim))
    if pretrained:  # frozen, it is shown pixels as it was trained on them
        encoder.statistics = _statistics(model)  # type: ignore[assignment]  # plain data: torch's stub knows of tensors and modules
    return encoder


def _statistics(model: str) -> tuple[list[float], list[float]] | None:
    """Return the mean and deviation of pixels from 0 to 255 that a saved model's processor names, if it has one."""
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(model)
        return [255 * x for x in processor.image_mean], [255 * x for x in processor.image_std]
    except (OSError, ValueError, ImportError, AttributeError, TypeError):
        return None
