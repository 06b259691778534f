"""Plain records as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

__all__ = ["records_csv", "records_json"]


def records_json(records: list[dict[str, Any]]) -> str:
    """Return the records as a JSON list."""
    return json.dumps(records, indent=2, ensure_ascii=False)


def records_csv(records: list[dict[str, Any]]) -> str:
    r"""Return the records as CSV; what is nested stands as JSON, what has no meaning stays empty.

    >>> records_csv([{"loss": "cosface", "at_bound": ["margin"], "reason": None}])
    'loss,at_bound,reason\ncosface,"[""margin""]",\n'
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    for record in records:
        nested = {k: json.dumps(v, ensure_ascii=False) for k, v in record.items() if isinstance(v, dict | list)}
        writer.writerow({**record, **nested})
    return buffer.getvalue()
