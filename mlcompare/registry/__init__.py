"""The registry: what a loss declares once, beside its class, and how anyone finds and builds it.

A loss declares its :class:`Hyperparameter` s (numbers a study may tune) and :class:`Option` s (static choices) as class
attributes, and :func:`register_loss` files it under a name. Outside packages register through the entry-point group
``mlcompare.losses``; a plug-in that fails to import is listed as broken and raises only when it is used.
"""

from mlcompare.registry.catalogue import (
    FIRST_COMPARISON,
    IDEAS,
    LOSSES,
    PML_PREFIX,
    WRAPPERS,
    create_loss,
    get_spec,
    list_losses,
    register,
    register_loss,
    register_wrapper,
)
from mlcompare.registry.declarations import (
    Hyperparameter,
    HyperparameterSpec,
    Option,
    OptionSpec,
    Published,
    by_name,
    declared,
)
from mlcompare.registry.registry import REGISTRIES, Record, Registry, install, options_of, written_in_this_process
from mlcompare.registry.spec import LossSpec

__all__ = [
    "FIRST_COMPARISON",
    "IDEAS",
    "LOSSES",
    "PML_PREFIX",
    "REGISTRIES",
    "WRAPPERS",
    "Hyperparameter",
    "HyperparameterSpec",
    "LossSpec",
    "Option",
    "OptionSpec",
    "Published",
    "Record",
    "Registry",
    "by_name",
    "create_loss",
    "declared",
    "get_spec",
    "install",
    "list_losses",
    "options_of",
    "register",
    "register_loss",
    "register_wrapper",
    "written_in_this_process",
]
