"""JSON schemas of programs: the input check that client and service share.

jsonschema is imported when a schema is first used: the import takes longer than a request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.errors import InvalidInputError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_LONGEST_RULE = 200


def compile_schema(schema: dict[str, Any]) -> Validator:
    """Return a validator for a schema."""
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    # An empty registry: a schema must not cause a download.
    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def check_inputs(validator: Validator, inputs: Any, program: str) -> None:
    """Check encoded inputs, already parsed, against a program's schema.

    Args:
        validator: The validator for the program's schema.
        inputs: The inputs.
        program: The program's name in the error, such as "program abc".

    Raises:
        InvalidInputError: The inputs break a rule; the error names the path and the rule, never
            the values.
    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        fault = best_match(validator.iter_errors(inputs))
    except RecursionError as exc:
        raise InvalidInputError(
            f"The schema of {program} refers to itself endlessly, or the inputs"
            " are nested too deeply to be checked.",
            rule="$ref",
        ) from exc
    except Unresolvable as exc:
        raise InvalidInputError(
            f"The schema of {program} refers to {exc.ref!r}, which it does not"
            " contain. Add the definition to the schema (`$defs`).",
            rule="$ref",
        ) from exc
    if fault is not None:
        rule = _rule(fault)
        raise InvalidInputError(
            f"The inputs of {program} break the rule `{rule}` at {fault.json_path}.",
            path=fault.json_path,
            rule=rule,
        )


def _rule(fault: ValidationError) -> str:
    """Describe the broken rule of the schema, without any of the inputs' values."""
    value = fault.validator_value
    if fault.validator == "required" and isinstance(fault.instance, dict):
        names = fault.validator_value if isinstance(fault.validator_value, list) else []
        value = [name for name in names if name not in fault.instance]
    words = f"{fault.validator}: {json.dumps(value)}"
    if fault.validator == "additionalProperties" and isinstance(fault.instance, dict):
        known = fault.schema.get("properties", {}) if isinstance(fault.schema, dict) else {}
        unknown = [name for name in fault.instance if name not in known]
        words += f" (not in the schema: {', '.join(unknown[:5])})"
    return words if len(words) <= _LONGEST_RULE else f"{words[:_LONGEST_RULE]}…"
