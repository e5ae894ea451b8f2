"""Read from a job's inputs how the job is measured: seeds, shots, precision, options.

The inputs may come from a flow, with PUBs as objects, or from a service, with PUBs as lists. Both
are mappings. No other part of the inputs is read or kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, cast, get_args

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program.primitive_options import PrimitiveName, read_options

_LONGEST_LIST = 100
# Positions in the lists that represent PUBs on the wire.
_PLACES: dict[tuple[str, str], int] = {("sampler", "shots"): 2, ("estimator", "precision"): 3}


@dataclass(frozen=True)
class JobSettings:
    """How a job is measured.

    Attributes:
        seeds: Inputs and options that are seeds, by their paths.
        shots: One number for all PUBs, or one for each PUB.
        precision: One number for all PUBs, or one for each PUB.
        options: The options of a primitive; for large values, only their kind.
        ignored: The options that the backend does not support.
    """

    seeds: dict[str, int] = field(default_factory=dict)
    shots: int | list[int | None] | None = None
    precision: float | list[float | None] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    @classmethod
    def from_inputs(cls, program_id: str, inputs: Mapping[str, Any]) -> JobSettings:
        """Read them from the inputs of a job."""
        if program_id not in get_args(PrimitiveName):
            return cls(
                seeds=dict(_seeds(inputs)),
                shots=_number(inputs.get("shots"), int),
                precision=_number(inputs.get("precision"), float),
            )
        options = _mapping(inputs.get("options"))
        if "resilience_level" in inputs:
            options = {**options, "resilience_level": inputs["resilience_level"]}
        program = _mapping(inputs.get("quantum_program"))
        shots = options.get("default_shots", program.get("shots"))
        return cls(
            seeds=dict(_seeds_below(options)),
            shots=_for_pubs(program_id, inputs, "shots", _number(shots, int)),
            precision=_for_pubs(
                program_id, inputs, "precision", _number(options.get("default_precision"), float)
            ),
            options=_as_json(options),
            ignored=_ignored(program_id, options, inputs),
        )


def _seeds(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for name, value in mapping.items():
        if "seed" in name.lower().split("_") and _number(value, int) is not None:
            yield f"{prefix}{name}", int(value)


def _seeds_below(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    yield from _seeds(options, prefix)
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _seeds_below(value, f"{prefix}{name}.")


def _for_pubs(program_id: str, inputs: Mapping[str, Any], name: str, default: float | None) -> Any:
    """Return the values of the PUBs; the options' value for PUBs without one."""
    pubs = inputs.get("pubs")
    place = _PLACES.get((program_id, name))
    if place is None or not isinstance(pubs, list | tuple):
        return default
    values = [_of_pub(pub, name, place) for pub in pubs]
    numbers = [default if one is None else one for one in values]
    return numbers if len(set(numbers)) > 1 else next(iter(numbers), default)


def _of_pub(pub: Any, name: str, place: int) -> Any:
    if isinstance(pub, list | tuple):
        value = pub[place] if len(pub) > place else None
    else:
        value = getattr(pub, name, None)
    return _number(value, float if name == "precision" else int)


def _ignored(program_id: str, options: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[str]:
    if inputs.get("unsupported_options") != "record":
        return []
    try:
        return list(read_options(cast("PrimitiveName", program_id), options).unsupported)
    except InvalidInputError:  # the job reports it, and fails
        return []


def _as_json(value: Any, name: str = "") -> Any:
    """Return an option as JSON; only its kind if it is large or has no JSON form."""
    if isinstance(value, Mapping):
        if "__type__" in value or name == "noise_model":
            return f"({value.get('__type__', name)})"
        return {str(key): _as_json(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple) and len(value) <= _LONGEST_LIST:
        return [_as_json(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"({type(value).__name__})"


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    allowed = Integral if kind is int else Real
    is_one = isinstance(value, allowed) and not isinstance(value, bool)
    return kind(value) if is_one else None  # type: ignore[arg-type]
