"""What may be the address of a tracking server."""

from __future__ import annotations

from mlcompare.errors import InvalidValueError

__all__ = ["check_address"]

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks")


def check_address(uri: str | None) -> None:
    """Refuse an address without a scheme: MLflow would take it for a folder, when everything is trained.

    Raises:
        InvalidValueError: no scheme, or one that MLflow doesn't know.

    >>> check_address("http://127.0.0.1:5000")
    >>> check_address("127.0.0.1:5000")
    Traceback (most recent call last):
    mlcompare.errors.InvalidValueError: --tracking-uri: a tracking server's address has a scheme, got 127...
    """
    scheme, colon, _ = (uri or "").partition(":")
    if uri is None or uri == "databricks" or (colon and scheme.partition("+")[0] in SCHEMES):
        return
    cure = f"use one of {', '.join(SCHEMES)}" if "://" in uri else f"write http://{uri}"
    raise InvalidValueError("a tracking server's address has a scheme", value=uri, cure=cure, place="--tracking-uri")
