"""Any image model of timm as an encoder."""

from __future__ import annotations

from torch import nn

from mlcompare.encoders.base import register_encoder_family
from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = ["timm_model"]


@register_encoder_family("timm", takes="images")
def timm_model(
    model: str,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    pretrained: bool = False,
    image_size: int | None = None,
) -> nn.Module:
    """``timm:<model>``: its pooled features, then a linear layer. ``pretrained: true`` downloads its weights.

    Args:
        model: a name of ``timm.list_models()``.
        image_size: told to the model, for those that are built for one size; by default the dataset's.

    Raises:
        InvalidValueError: timm (the extra ``[timm]``) can't be imported.
        UnknownNameError: timm has no such model.
    """
    place = f"timm:{model}"
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # a torchvision of another build raises RuntimeError
        cure = "pip install 'mlcompare[timm]', with the torchvision that belongs to your torch"
        rule = "timm and torchvision must be importable"
        raise InvalidValueError(rule, value=str(error).splitlines()[0], cure=cure, place=place) from None
    if not timm.is_model(model):
        raise UnknownNameError("unknown timm model", value=model, cure=did_you_mean(model, timm.list_models()))
    options = {"pretrained": pretrained, "num_classes": 0, "in_chans": input_shape[0]}
    try:
        body = timm.create_model(model, **options, img_size=image_size or tuple(input_shape[1:]))
    except TypeError:  # most convolutional models take any size, and no `img_size`
        body = timm.create_model(model, **options)
    encoder = nn.Sequential(body, nn.Linear(body.num_features, embedding_dim))
    if pretrained:  # frozen, it is shown pixels as it was trained on them
        mean, std = ([255 * x for x in body.pretrained_cfg[key]] for key in ("mean", "std"))
        encoder.statistics = (mean, std)  # type: ignore[assignment]  # plain data: torch's stub knows of tensors and modules
    return encoder
