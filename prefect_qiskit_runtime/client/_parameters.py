"""The inputs of a program as attributes, checked against its schema before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.models import check_inputs, compile_schema


class ParameterNamespace:
    """The inputs of a program: assign values and pass it to `run` as `inputs`.

    A parameter that has not been assigned reads as None and is not sent. `print` shows them all.

    Args:
        schema: JSON schema of the program's inputs.

    Example:
        ```python
        params = client.program(program_id).parameters()
        params.iterations = 3
        job = client.run(program_id, params)
        ```
    """

    # `vars` returns the assigned inputs and nothing else.
    __slots__ = ("__dict__", "_schema")

    _schema: dict[str, Any]

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        self._schema = dict(schema or {})

    @property
    def metadata(self) -> dict[str, Any]:
        """The JSON schema of the inputs."""
        return self._schema

    def to_dict(self) -> dict[str, Any]:
        """Return the definition of each parameter by its name."""
        return dict(self._schema.get("properties", {}))

    def validate(self) -> None:
        """Check the assigned inputs as the service will, without sending a request.

        Raises:
            EncodingError: An input has no encoding; `path` names it.
            InvalidInputError: An input is missing or breaks the schema; `path` and `rule`
                identify it and the reason.
        """
        if self._schema:
            encoded = json.loads(encode_inputs(vars(self)))
            check_inputs(compile_schema(self._schema), encoded, "the program")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_schema":  # `copy` reads it before it is set
            raise AttributeError(name)
        if name in (known := self.to_dict()):
            return None
        raise AttributeError(
            f"The program has no parameter {name!r}. It has {', '.join(known) or 'none'}."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "_schema" and hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} is an attribute of every parameter namespace and cannot be assigned;"
                " pass the inputs of this program as a dictionary."
            )
        object.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.to_dict()})

    def __repr__(self) -> str:
        return f"ParameterNamespace({', '.join(vars(self))})"

    def __str__(self) -> str:
        rows = [_row("Name", "Value", "Type", "Required", "Description")]
        rows.append("-" * len(rows[0]))
        required = self._schema.get("required", [])
        for name, definition in self.to_dict().items():
            fields = definition if isinstance(definition, Mapping) else {}  # or `true`
            kind, description = fields.get("type"), fields.get("description")
            rows.append(_row(name, getattr(self, name), kind, name in required, description))
        return "\n".join(["ParameterNamespace (Values):", *rows])


InputsLike = Mapping[str, Any] | ParameterNamespace | None
"""Inputs of a job: by name, or as the namespace that a program returns."""


def read_inputs(inputs: InputsLike) -> Mapping[str, Any]:
    """Return inputs by name; those of a namespace are checked against its schema.

    Raises:
        EncodingError: An input of the namespace has no encoding; `path` names it.
        InvalidInputError: The namespace breaks the program's schema.
    """
    if isinstance(inputs, ParameterNamespace):
        inputs.validate()
        return vars(inputs).copy()
    return {} if inputs is None else inputs


def _row(name: Any, value: Any, kind: Any, required: Any, description: Any) -> str:
    return (
        f"| {name!s:10.10} | {value!s:12.12} | {kind!s:12.12} "
        f"| {required!s:8.8} | {description!s:>15} |"
    )
