"""PUBs and options, in the forms users write them, as the inputs of a primitive's job.

What can be said without a backend is said here, before a job is made: a PUB that is none, an
option that simulators do not support.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from prefect_qiskit_runtime._backend_fields import laid_over
from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.codec import _seams
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.models import RuntimeOptions
from prefect_qiskit_runtime.program._primitive_options import (
    PrimitiveName,
    UnsupportedOptions,
    read_options,
)

PrimitiveOptionsLike = Mapping[str, Any] | Any | None
"""A mapping, or the options object of a primitive of qiskit-ibm-runtime."""

_FORMS: dict[PrimitiveName, str] = {
    "sampler": "a measured circuit, or (circuit, parameter_values, shots)",
    "estimator": "(circuit, observables, parameter_values, precision)",
}
# What the options of a primitive say about its job.
_OF_THE_JOB = {"log_level": "log_level", "job_tags": "tags", "image": "image"}

NO_SEED_ON_DEVICES = (
    "seed is not for IBM Quantum: what is measured on a device cannot be made reproducible."
)


@dataclass(frozen=True)
class PrimitiveCall:
    """What one call of a primitive asks for.

    Attributes:
        primitive: Which primitive.
        pubs: As the user wrote them.
        options: Likewise.
        shots: For PUBs that say nothing.
        precision: For PUBs of the estimator that say nothing.
        seed: Makes the results reproducible.
        transpile: Whether the circuits are transpiled; None as the backend's block says.
    """

    primitive: PrimitiveName
    pubs: Iterable[Any]
    options: PrimitiveOptionsLike
    shots: int | None
    precision: float | None
    seed: int | None
    transpile: bool | None

    def on(self, block: RuntimeBackend) -> PrimitiveCall:
        """Return the call with what it leaves open as the block of the backend says."""
        asked = plain_options(self.options)
        below = block.primitive_options(self.primitive)
        if "default_precision" in asked or self.precision is not None:
            below.pop("default_shots", None)  # which would go before it
        transpile = block.transpile if self.transpile is None else self.transpile
        # Once: PUBs may be given by a generator.
        pubs = _coerced(self.primitive, self.pubs, is_simulated=block.service != "ibm")
        return replace(self, pubs=pubs, options=laid_over(below, asked), transpile=transpile)

    def __len__(self) -> int:
        """Return how many PUBs it has, once it is for a block."""
        return len(list(self.pubs))

    def only(self, part: range) -> PrimitiveCall:
        """Return the call with some of the PUBs."""
        return replace(self, pubs=list(self.pubs)[part.start : part.stop])

    @property
    def asked_seed(self) -> Any:
        """The seed, wherever the call names it."""
        options = self.primitive_options()
        named = [options.get("simulator", {}).get("seed_simulator"), options.get("seed_estimator")]
        return next((seed for seed in (self.seed, *named) if seed is not None), None)

    def inputs_on(self, block: RuntimeBackend) -> dict[str, Any]:
        """Return the inputs of the job as the service of a block takes them."""
        if block.service == "ibm":
            return self.ibm_inputs()
        return self.inputs(block.unsupported_options)

    def inputs(self, unsupported: UnsupportedOptions) -> dict[str, Any]:
        """Return the inputs of the job, as clients of IBM send them and with ours.

        Raises:
            InvalidInputError: An option breaks a rule; the message names it.
        """
        options = self.primitive_options()
        if self.seed is not None:
            options["simulator"] = {**options.get("simulator", {}), "seed_simulator": self.seed}
        level = options.pop("resilience_level", None)
        beside = {} if level is None else {"resilience_level": level}
        read = read_options(self.primitive, options, **beside)
        if unsupported == "refuse":
            read.require_supported()
        return {
            "pubs": list(self.pubs),
            "options": options,
            "version": 2,
            "support_qiskit": True,
            "unsupported_options": unsupported,
            "transpile": bool(self.transpile),
            **beside,
        }

    def ibm_inputs(self) -> dict[str, Any]:
        """Return the inputs of the job as IBM's own client sends them, checked by its models.

        Raises:
            InvalidInputError: An option breaks a rule; the message names it.
            ConfigurationError: Something is asked for that IBM's service does not do.
        """
        self._require_ibm_can()
        if not list(self.pubs):
            raise InvalidInputError(
                f"The {self.primitive} was given no PUB: a job on IBM Quantum is paid for.",
                path="$.pubs",
                rule="one or more PUBs",
            )
        _require_shots(self.primitive_options().get("default_shots"))
        try:
            asked = _seams.primitive_inputs(self.primitive, self.primitive_options())
        except (ValueError, TypeError) as exc:
            raise InvalidInputError(
                f"The options are none of the {self.primitive} of qiskit-ibm-runtime"
                f" {_seams.upstream_version()}: {_first_fault(exc)}",
                path="$.options",
                rule="options of qiskit-ibm-runtime",
            ) from exc
        return {"pubs": list(self.pubs), **asked}

    def _require_ibm_can(self) -> None:
        if self.seed is not None:
            beside = " The option seed_estimator fixes the randomization of circuits only."
            raise ConfigurationError(
                f"{NO_SEED_ON_DEVICES}{beside if self.primitive == 'estimator' else ''}"
            )

    def primitive_options(self) -> dict[str, Any]:
        """Return the options of the primitive, without what they say about its job."""
        options, _ = split_options(plain_options(self.options))
        if self.shots is not None:
            options["default_shots"] = self.shots
        if self.precision is not None:
            options.pop("default_shots", None)
            options["default_precision"] = self.precision
        return options

    def job_options(self) -> RuntimeOptions:
        """Return what the options of the primitive say about its job.

        Raises:
            ConfigurationError: One has a wrong value.
        """
        _, of_the_job = split_options(plain_options(self.options))
        return RuntimeOptions.read(of_the_job)


def _require_shots(shots: Any) -> None:
    # The models of qiskit-ibm-runtime let 0 and less through, and the job fails.
    if isinstance(shots, int) and shots < 1:
        raise InvalidInputError(
            f"shots must be a whole number of 1 or more, not {shots}.",
            path="$.options.default_shots",
            rule="1 or more shots",
        )


def plain_options(options: PrimitiveOptionsLike) -> dict[str, Any]:
    """Return options as a mapping of what was set.

    Raises:
        ConfigurationError: They are neither a mapping nor an options object.
    """
    if options is None:
        return {}
    if isinstance(options, BaseModel):  # those of the executor
        return options.model_dump(exclude_unset=True)
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        return _without_unset(dataclasses.asdict(options))
    if isinstance(options, Mapping):
        return _without_unset(options)
    raise ConfigurationError(
        "options of a primitive are a mapping in the form of qiskit-ibm-runtime, such as "
        f"{{'default_shots': 1000}}, or its options object, not {type(options).__name__}."
    )


def _without_unset(options: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in options.items():
        # By name: to import the class would import all of qiskit-ibm-runtime.
        if type(value).__name__ == "UnsetType" or name == "_VERSION":
            continue
        if isinstance(value, Mapping):
            inner = _without_unset(value)
            if inner or not value:
                kept[name] = inner
        else:
            kept[name] = value
    return kept


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what the primitive is told from what its job is."""
    primitive = dict(options)
    environment = dict(primitive.pop("environment", {}))
    given: dict[str, Any] = {"max_execution_time": primitive.pop("max_execution_time", None)}
    if "image" in primitive:
        environment["image"] = primitive.pop("image")
    for theirs, ours in _OF_THE_JOB.items():
        if environment.get(theirs) is not None:
            given[ours] = environment.pop(theirs)
    if environment:
        primitive["environment"] = environment
    return primitive, given


def _first_fault(exc: Exception) -> str:
    """Return what is wrong in one sentence; the errors of pydantic have several lines."""
    if isinstance(exc, ValidationError):
        fault = exc.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].rstrip('.')}."
    return f"{str(exc).rstrip('.')}."


def _coerced(primitive: PrimitiveName, pubs: Iterable[Any], *, is_simulated: bool) -> list[Any]:
    from qiskit.exceptions import QiskitError

    from prefect_qiskit_runtime.program._constructs import require_no_inputs, require_simulable

    coerce = _sampler_pub if primitive == "sampler" else _estimator_pub
    coerced = []
    for index, pub in enumerate(_parts(primitive, pubs)):
        try:
            coerced.append(coerce(pub))
            require_no_inputs(coerced[-1].circuit)
            if is_simulated:
                require_simulable(coerced[-1].circuit)
        # What Qiskit raises on the way to finding out depends on what it was given.
        except (TypeError, ValueError, LookupError, AttributeError, QiskitError) as exc:
            _refuse(primitive, index, getattr(exc, "message", None) or str(exc), exc)
        except InvalidInputError as exc:
            raise InvalidInputError(
                f"pubs[{index}]: {exc}", path=f"$.pubs[{index}]", rule=exc.rule
            ) from exc
    return coerced


def _sampler_pub(pub: Any) -> Any:
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from prefect_qiskit_runtime.program._constructs import require_result_names
    from prefect_qiskit_runtime.program._isa import require_registers

    coerced = SamplerPub.coerce(pub)
    require_registers(coerced.circuit)
    require_result_names(coerced.circuit)
    return coerced


def _estimator_pub(pub: Any) -> Any:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

    from prefect_qiskit_runtime.program._constructs import require_precision

    coerced = EstimatorPub.coerce(pub)
    require_precision(coerced.precision, "$.pubs")
    return coerced


def _parts(primitive: PrimitiveName, pubs: Any) -> tuple[Any, ...]:
    """Return the PUBs of a call; say so if somebody gave one in place of a list."""
    from qiskit.circuit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    is_list = isinstance(pubs, Iterable) and not isinstance(
        pubs, QuantumCircuit | SamplerPub | EstimatorPub
    )
    parts = tuple(pubs) if is_list else ()
    # A tuple may be one PUB: a circuit, then something that is no PUB of its own.
    is_pub = (
        isinstance(pubs, tuple)
        and len(parts) > 1
        and isinstance(parts[0], QuantumCircuit)
        and not isinstance(parts[1], QuantumCircuit | tuple)
    )
    if not is_list or is_pub:
        raise InvalidInputError(
            f"pubs is not a list of PUBs: write [pub] for one. Each is {_FORMS[primitive]}.",
            path="$.pubs",
            rule="a list of PUBs",
        )
    return parts


def _refuse(primitive: PrimitiveName, index: int, fault: str, exc: Exception) -> NoReturn:
    raise InvalidInputError(
        f"pubs[{index}] is no PUB of the {primitive}: {fault.rstrip('.')}. Each PUB is"
        f" {_FORMS[primitive]}; "
        "all but the first parts may be left out or None.",
        path=f"$.pubs[{index}]",
        rule="PUBs",
    ) from exc
