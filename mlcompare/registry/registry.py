"""One registry for every kind of thing a study names: losses, datasets, encoders, metrics, samplers, and the rest."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = [
    "NATIVE",
    "PLUGIN",
    "PML",
    "REGISTRIES",
    "Record",
    "Registry",
    "install",
    "options_of",
    "written_in_this_process",
]

PACKAGE = __name__.partition(".")[0]
NATIVE, PLUGIN, PML = "native", "plugin", "pml"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one registered thing, whatever its kind.

    Args:
        name: what a study calls it.
        factory: what builds or computes it.
        options: its options: name → default, or a declaration.
        doc: its docstring; the first line is the summary.
        reference: where it is from.
        provider: ``native`` (this package), ``plugin``, or ``pml`` (pytorch-metric-learning).
        aliases: other names of it.
        broken: why a plug-in can't be used; None where it can.
    """

    name: str
    factory: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    doc: str = ""
    reference: str = ""
    provider: str = ""
    aliases: tuple[str, ...] = ()
    broken: str | None = None

    def __post_init__(self) -> None:
        if not self.provider:
            home = str(getattr(self.factory, "__module__", "")).partition(".")[0]
            object.__setattr__(self, "provider", NATIVE if home == PACKAGE else PLUGIN)

    def __getstate__(self) -> dict[str, Any]:  # mapping proxies can't be pickled
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call what is registered."""
        return self.factory(*arguments, **options)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.strip().splitlines()[0] if self.doc.strip() else ""

    def usable(self, kind: str) -> None:
        """Raise :class:`InvalidValueError` where the plug-in that should provide it is broken."""
        if self.broken is not None:
            cure = "fix or uninstall the package that provides it" if self.provider == PLUGIN else None
            raise InvalidValueError(f"this {kind} can't be used: {self.broken}", cure=cure, place=self.name)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, MappingProxyType) else value


R = TypeVar("R", bound=Record)
REGISTRIES: dict[str, Registry[Any]] = {}


class Registry(Mapping[str, R], Generic[R]):
    """All records of one kind, by name. A plug-in's are found through the entry-point group ``mlcompare.<plural>``.

    Args:
        kind: the singular, as messages say it.
        plural: as ``mlcompare list`` and the entry-point group say it.
        record: the class of its records; a broken plug-in is listed as one of them.
        homes: modules of this package that register its own when they are imported.

    >>> colours = Registry("colour", "colours", Record)
    >>> colours.register(Record(name="red", factory=int)).name
    'red'
    >>> colours.register(Record(name="red", factory=int))
    Traceback (most recent call last):
    mlcompare.errors.InvalidValueError: red: a colour is registered once, got 'red'; choose another, or replace=True
    >>> colours["rad"]
    Traceback (most recent call last):
    mlcompare.errors.UnknownNameError: unknown colour 'rad'; did you mean red?
    >>> REGISTRIES.pop("colours") is colours
    True
    """

    def __init__(self, kind: str, plural: str, record: type[R], *, homes: Iterable[str] = ()) -> None:
        self.kind, self.plural, self._record, self._homes = kind, plural, record, tuple(homes)
        self._records: dict[str, R] = {}
        self._aliases: dict[str, str] = {}
        self._discovered = False
        self._by_entry_point: set[str] = set()
        REGISTRIES[plural] = self

    def register(self, record: R, *, replace: bool = False) -> R:
        """File a record.

        Args:
            replace: take the place of what has the name, as in a notebook cell that is run again.

        Raises:
            InvalidValueError: one of its names is taken.
        """
        names = (record.name, *record.aliases)
        for name in names:
            if (name in self._records or name in self._aliases) and not replace:
                cure = "choose another, or replace=True"
                rule = f"a {self.kind} is registered once"
                raise InvalidValueError(rule, value=repr(name), cure=cure, place=record.name)
        old = self._records.get(record.name)
        for alias in old.aliases if old is not None else ():
            self._aliases.pop(alias, None)
        self._records[record.name] = record
        self._aliases.update(dict.fromkeys(record.aliases, record.name))
        return record

    def find(self, name: str) -> R | None:
        """Return the record of a name or an alias, or None; plug-ins are asked only for names not known yet."""
        found = self._records.get(self._aliases.get(name, name))
        if found is None and not self._discovered:
            self.discover()
            found = self._records.get(self._aliases.get(name, name))
        return found

    def __getitem__(self, name: str) -> R:
        found = self.find(str(name))
        if found is None:
            raise self.unknown(name)
        return found

    def usable(self, name: str) -> R:
        """Return a record that can be used.

        Raises:
            UnknownNameError: nothing is registered under the name; the message suggests the nearest ones.
            InvalidValueError: it belongs to a plug-in that is broken.
        """
        record = self[name]
        record.usable(self.kind)
        return record

    def unknown(self, name: object, *, more: Iterable[str] = ()) -> UnknownNameError:
        """Return the error for a name that nothing is registered under; ``more`` are names known elsewhere."""
        cure = did_you_mean(str(name), [*self._records, *self._aliases, *more])
        return UnknownNameError(f"unknown {self.kind} {name!r}", cure=cure)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        self.discover()
        return iter(sorted(self._records))

    def __len__(self) -> int:
        self.discover()
        return len(self._records)

    def records(self, *, provider: str | None = None) -> list[R]:
        """Return the records, sorted by name: all, or those of one provider (``native`` or ``plugin``)."""
        return [self._records[name] for name in self if provider in (None, self._records[name].provider)]

    def discover(self) -> None:
        """Import what this package registers of the kind, then what plug-ins do; once."""
        if self._discovered:
            return
        self._discovered = True
        for home in self._homes:
            importlib.import_module(home)
        before = set(self._records)
        for point in importlib.metadata.entry_points(group=f"{PACKAGE}.{self.plural}"):
            self._load(point)
        self._by_entry_point = set(self._records) - before

    def _load(self, point: importlib.metadata.EntryPoint) -> None:
        try:
            point.load()
        except Exception as error:  # whatever a plug-in raises: the rest of the registry must stay usable
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if point.name not in self._records and point.name not in self._aliases:
                broken = self._record(
                    name=point.name, factory=_nothing, reference=point.value, provider=PLUGIN, broken=reason
                )
                self.register(broken)

    def written_here(self) -> list[R]:
        """Return the records that this process registered itself: what a new process can't find by importing."""
        mine = (record for record in self._records.values() if record.provider == PLUGIN and record.broken is None)
        return [record for record in mine if record.name not in self._by_entry_point]


def _nothing(**_options: Any) -> None:
    """Stand for what a broken plug-in would have registered."""


def options_of(function: Callable[..., Any], *, without: Iterable[str] = ()) -> Mapping[str, Any]:
    """Return the keyword arguments of a function with their defaults (``inspect.Parameter.empty`` where demanded).

    >>> dict(options_of(lambda images, width=3: None, without=["images"]))
    {'width': 3}
    """
    parameters = inspect.signature(function).parameters
    left_out = set(without)
    return {name: parameter.default for name, parameter in parameters.items() if name not in left_out}


def written_in_this_process() -> dict[str, list[Record]]:
    """Return, kind by kind, what scripts, notebooks and ``--plugin`` files have registered in this process."""
    found = {plural: registry.written_here() for plural, registry in REGISTRIES.items()}
    return {plural: records for plural, records in found.items() if records}


def install(records: Mapping[str, Iterable[Record]]) -> None:
    """Register what another process wrote; see :func:`written_in_this_process`."""
    for plural, some in records.items():
        for record in some:
            REGISTRIES[plural].register(replace(record), replace=True)
