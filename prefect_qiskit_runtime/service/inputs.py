"""Check inputs against a program's JSON schema, and a backend against its requirements.

jsonschema is imported when a schema is first used, because its import would delay the first
request.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.models import check_inputs, compile_schema
from prefect_qiskit_runtime.service.checker import Checker
from prefect_qiskit_runtime.service.store.records import SERVICE_OWNERS, Program

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_CACHED_VALIDATORS = 128
_INLINE_BYTES = 64 * 1024
_CHECKED_REQUIREMENTS = ("min_num_qubits", "simulator", "max_shots", "basis_gates")


class InputRules:
    """The schemas of programs.

    Schemas of the service's own programs are simple, and compiled once per version. All others, and
    large inputs, are checked in the checker's process: no rule for which schemas are cheap would be
    short and right.
    """

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._validators: OrderedDict[tuple[str, int], Validator] = OrderedDict()

    async def check(
        self, program: Program, inputs: Mapping[str, Any] | None, *, params: bytes, user: str
    ) -> None:
        """Check the inputs of a job against the schema of its program.

        Args:
            program: The program, in the version that the job runs.
            inputs: The encoded inputs, parsed; None if they are too large for this process.
            params: Their text; large inputs are checked off the event loop.
            user: The caller.

        Raises:
            InvalidInputError: The inputs break a rule; the error names the path and the rule,
                never the values.
        """
        schema = program.content.spec.get("parameters")
        if not schema:
            return
        if inputs is None or program.owner not in SERVICE_OWNERS:
            await self._checker.check_inputs(user, program.id, schema, params)
        elif len(params) <= _INLINE_BYTES and (program.id, program.version) in self._validators:
            self._check(program, schema, inputs)
        else:
            await asyncio.to_thread(self._check, program, schema, inputs)

    def _check(self, program: Program, schema: dict[str, Any], inputs: Mapping[str, Any]) -> None:
        check_inputs(self._validator(program, schema), inputs, f"program {program.id}")

    def _validator(self, program: Program, schema: dict[str, Any]) -> Validator:
        key = (program.id, program.version)
        validator = self._validators.get(key)
        if validator is None:
            validator = compile_schema(schema)
            self._validators[key] = validator
            while len(self._validators) > _CACHED_VALIDATORS:
                self._validators.popitem(last=False)
        return validator


def check_requirements_known(requirements: Mapping[str, Any], path: str) -> None:
    """Check the values of the backend requirements that the service understands.

    Raises:
        InvalidInputError: A requirement has a value of the wrong type.
    """
    kinds: dict[str, tuple[type, str]] = {
        "min_num_qubits": (int, "a whole number"),
        "max_shots": (int, "a whole number"),
        "simulator": (bool, "true or false"),
        "basis_gates": (list, "a list of names"),
    }
    for name, (kind, words) in kinds.items():
        value = requirements.get(name)
        is_bool = isinstance(value, bool)
        if value is not None and (not isinstance(value, kind) or (is_bool and kind is int)):
            place = f"{path}.{name}"
            raise InvalidInputError(f"{place} must be {words}.", path=place, rule=words)


def unmet_requirement(
    requirements: Mapping[str, Any], configuration: Mapping[str, Any]
) -> str | None:
    """Describe the first requirement that a backend does not meet; None if it meets all."""
    wanted_qubits = requirements.get("min_num_qubits")
    if wanted_qubits is not None and configuration["n_qubits"] < wanted_qubits:
        return f"min_num_qubits: {wanted_qubits} (it has {configuration['n_qubits']})"
    simulator = requirements.get("simulator")
    if simulator is not None and configuration["simulator"] is not simulator:
        return f"simulator: {json.dumps(simulator)}"
    shots = requirements.get("max_shots")
    if shots is not None and configuration.get("max_shots", shots) < shots:
        return f"max_shots: {shots} (it takes {configuration['max_shots']})"
    missing = sorted(set(requirements.get("basis_gates") or ()) - set(configuration["basis_gates"]))
    return f"basis_gates: {', '.join(missing)}" if missing else None


def unchecked_requirements(requirements: Mapping[str, Any]) -> list[str]:
    """Return the names of the requirements that the service does not understand."""
    return sorted(set(requirements) - set(_CHECKED_REQUIREMENTS))
