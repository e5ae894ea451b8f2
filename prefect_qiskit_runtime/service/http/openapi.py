"""The OpenAPI document: how routes declare bodies and answers, and how the document is built.

A route that reads its body itself declares the body with `takes`. It declares answers that do not
follow from its signature with `answers`:

```
@router.put("/{job_id}/tags", status_code=204, openapi_extra=takes(TagsChange),
            responses=answers(status=204))
```

The answers that follow from the signature are added here: 401 and 503 if a token is needed, 400 if
there is a body or a parameter, 404 if the path names something, 413 if there is a body. The schemas
of models are created when the document is requested, not when the service starts.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from prefect_qiskit_runtime.models import package_version

JSON = "application/json"
TEXT = "text/plain"

_REF = "#/components/schemas/{model}"
_CONTENT = "x-content"
_DESCRIPTIONS = {
    200: "Done.",
    201: "Created.",
    202: "Accepted.",
    204: "Done.",
    400: "The request breaks a rule; the error names it.",
    401: "The token is missing or was refused.",
    403: "The user may not do this.",
    404: "This user has no such object.",
    409: "The object's state, or its name, does not allow this.",
    410: "The object existed, but no longer does.",
    413: "The body is larger than the service accepts.",
    422: "The idempotency key belongs to another request.",
    503: "The service is ending, or its disk is full: nothing was done.",
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "code"],
            "properties": {
                "message": {"type": "string"},
                "code": {"type": ["integer", "string"]},
                "path": {"type": "string"},
                "rule": {"type": "string"},
                "solution": {"type": "string"},
                "kind": {"type": "string"},
                "identifier": {"type": "string"},
                "job_id": {"type": "string"},
            },
        }
    },
}
# Every model that a route uses, by its name in the document.
_models: dict[str, type[BaseModel]] = {}

Schema = type[BaseModel] | dict[str, Any]


def schema_of(shape: Schema) -> dict[str, Any]:
    """Return a schema unchanged, or a reference to a model's schema."""
    if isinstance(shape, dict):
        return shape
    name = shape.__name__.strip("_")
    _models[name] = shape
    return {"$ref": _REF.format(model=name)}


def list_of(shape: Schema) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": schema_of(shape)}


def object_of(**properties: Schema) -> dict[str, Any]:
    """Return the schema of an object that has at least these properties."""
    shapes = {name: schema_of(shape) for name, shape in properties.items()}
    return {"type": "object", "required": list(shapes), "properties": shapes}


def takes(shape: Schema, *, media_type: str = JSON) -> dict[str, Any]:
    """Declare the body of a route that reads it itself."""
    content = {media_type: {"schema": schema_of(shape)}}
    return {"requestBody": {"required": True, "content": content}}


def answers(
    shape: Schema | None = None,
    *errors: int,
    status: int = 200,
    media_type: str = JSON,
    also: int | None = None,
) -> dict[int | str, dict[str, Any]]:
    """Declare the answers of a route.

    Args:
        shape: The answer's schema; None for an empty body.
        errors: Error statuses that do not follow from the signature.
        status: The status of `shape`.
        media_type: The media type of `shape`.
        also: Another success status, with the same shape, or empty if it is 204.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for code in (status, also):
        if code is not None:
            empty = shape is None or code == 204
            content = {} if empty else {media_type: {"schema": schema_of(shape or {})}}
            found[code] = {"description": _DESCRIPTIONS[code], _CONTENT: content}
    return {**found, **{code: _error(code) for code in errors}}


def install(app: FastAPI) -> None:
    """Make the app serve its document at `/openapi.json`."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI documents


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=package_version(),
        description="Qiskit Runtime, with what prefect-qiskit-runtime adds to it.",
        routes=app.routes,
    )
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(operation, names_something="{" in path)
    components = document.setdefault("components", {})
    components["schemas"] = {"Error": _ERROR, **_model_schemas()}
    return document


def _complete(operation: dict[str, Any], *, names_something: bool) -> None:
    """Add the answers that follow from an operation's signature, and apply its own."""
    responses = operation["responses"]
    if _CONTENT not in responses.get("422", {}):
        responses.pop("422", None)  # FastAPI's default for errors that are answered with 400 here
    needs_token = "security" in operation
    has_body = "requestBody" in operation
    for code, applies in (
        (400, has_body or bool(operation.get("parameters"))),
        (401, needs_token),
        (404, names_something),
        (413, has_body),
        (503, needs_token),
    ):
        if applies:
            responses.setdefault(str(code), _error(code))
    for response in responses.values():
        if _CONTENT in response:
            content = response.pop(_CONTENT)
            response.pop("content", None)
            if content:
                response["content"] = content


def _model_schemas() -> dict[str, Any]:
    if not _models:
        return {}
    _, definitions = models_json_schema(
        [(model, "validation") for model in _models.values()],
        ref_template=_REF,
    )
    return {name.strip("_"): schema for name, schema in definitions["$defs"].items()}


def _error(code: int) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": _REF.format(model="Error")}}}
    return {"description": _DESCRIPTIONS[code], _CONTENT: content}
