"""MLflow's server for a store: its first page opens on training runs, with nothing laid over them.

MLflow 3 opens any experiment on the traces of language models, and on a local server its assistant's panel over the
right third of the page, until a browser remembers another choice. This app, which ``mlflow server`` finds by the entry
point ``mlflow.app``, has the browser remember it: each choice once, so that whoever changes it keeps the change.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FIRST_CHOICES", "app"]

FIRST_CHOICES = """<script>
for (const [key, value] of [["mlflow.workflowType_v1", '"machine_learning"'],
                            ["mlflow.assistant.panelOpen_v1", "false"],  // of older versions
                            ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"]]) {
  try { if (localStorage.getItem(key) === null) localStorage.setItem(key, value); } catch {}
}
</script>"""
HEAD = b"<head>"


def app() -> Any:
    """Return MLflow's own application with those choices in its first page; a factory."""
    from flask import Response, request
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as served

    @pages.before_request
    def ask_for_it_whole() -> None:
        if request.path == "/":  # a page that the browser kept from another server would have no choices in it
            for condition in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"):
                request.environ.pop(condition, None)

    @pages.after_request
    def choose_first(response: Response) -> Response:
        if request.path == "/" and response.mimetype == "text/html":
            response.direct_passthrough = False
            response.set_data(response.get_data().replace(HEAD, HEAD + FIRST_CHOICES.encode(), 1))
            for validator in ("ETag", "Last-Modified"):
                response.headers.pop(validator, None)
            response.headers["Cache-Control"] = "no-store"
        return response

    return served
