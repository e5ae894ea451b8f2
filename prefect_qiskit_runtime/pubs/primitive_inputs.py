"""Convert PUBs and options from the users' forms to the inputs of a primitive's job.

Errors that can be found without a backend are raised here, before a job is made: an invalid PUB, or
an option that simulators do not support.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from pydantic import BaseModel

from prefect_qiskit_runtime.backend import RuntimeBackend, laid_over
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.models import RuntimeOptions
from prefect_qiskit_runtime.program.primitive_options import (
    PrimitiveName,
    UnsupportedOptions,
    read_options,
    require_known_options,
)
from prefect_qiskit_runtime.program.simulation import lay_simulation_over, simulation_settings

PrimitiveOptionsLike = Mapping[str, Any] | Any | None
"""A mapping, or the options object of a primitive of qiskit-ibm-runtime."""

_FORMS: dict[PrimitiveName, str] = {
    "sampler": "a measured circuit, or (circuit, parameter_values, shots)",
    "estimator": "(circuit, observables, parameter_values, precision)",
}
# Options of a primitive that belong to its job.
_OF_THE_JOB = {"log_level": "log_level", "job_tags": "tags", "image": "image"}

NO_SEED_ON_DEVICES = (
    "seed cannot be used with IBM Quantum: measurements on a device are not reproducible."
)


@dataclass(frozen=True)
class PrimitiveCall:
    """The arguments of one call of a primitive.

    Attributes:
        primitive: The primitive.
        pubs: The PUBs, as the user wrote them.
        options: The options, as the user wrote them.
        shots: Shots for PUBs that set none.
        precision: Precision for PUBs of the estimator that set none.
        seed: Makes the results reproducible.
        transpile: Whether the circuits are transpiled; None for the setting of the backend block.
    """

    primitive: PrimitiveName
    pubs: Iterable[Any]
    options: PrimitiveOptionsLike
    shots: int | None
    precision: float | None
    seed: int | None
    transpile: bool | None

    def completed_by(self, block: RuntimeBackend) -> PrimitiveCall:
        """Return the call, completed with the settings of the backend block."""
        asked = plain_options(self.options)
        below = block.primitive_options(self.primitive)
        if "default_precision" in asked or self.precision is not None:
            below.pop("default_shots", None)  # which would override it
        transpile = block.transpile if self.transpile is None else self.transpile
        # Once: PUBs may be given by a generator.
        pubs = _coerce_pubs(self.primitive, self.pubs)
        options = _with_simulation(laid_over(below, asked), block.named_simulation())
        completed = replace(self, pubs=pubs, options=options, transpile=transpile)
        if block.kind.takes_seed:
            completed._require_simulable(block)
        return completed

    def _require_simulable(self, block: RuntimeBackend) -> None:
        """Refuse, before a job exists, a PUB that a simulator cannot run as it is written."""
        import numpy as np

        from prefect_qiskit_runtime.program import constructs
        from prefect_qiskit_runtime.program.isa import require_untimed_boxes

        imitates_device = block.name.startswith(constructs.DEVICE_PREFIX)
        for index, pub in enumerate(self.pubs):
            with _naming(index):
                constructs.require_simulable(pub.circuit)
                constructs.require_shots(getattr(pub, "shots", None))
                if self.primitive == "estimator":
                    for observable in np.asarray(pub.observables).ravel():
                        constructs.require_few_projectors(observable)
                if imitates_device:
                    require_untimed_boxes(pub.circuit, block.name)
                if self._is_exact(pub, block):
                    constructs.require_exact(pub.circuit)

    def _is_exact(self, pub: Any, block: RuntimeBackend) -> bool:
        """Return whether the value of a PUB is computed without sampling."""
        from prefect_qiskit_runtime.program.constructs import IDEAL_NAME

        if self.primitive != "estimator" or block.name != IDEAL_NAME:
            return False
        options = self.primitive_options()
        options.pop("resilience_level", None)
        read = read_options(self.primitive, options)
        if read.noise_model is not None:
            return False
        if pub.precision is not None:
            return pub.precision == 0
        return read.shots is None and not read.precision

    def __len__(self) -> int:
        """Return the number of PUBs, once the call has been completed for a block."""
        return len(list(self.pubs))

    def only(self, part: range) -> PrimitiveCall:
        """Return the call with only some of the PUBs."""
        return replace(self, pubs=list(self.pubs)[part.start : part.stop])

    @property
    def asked_seed(self) -> Any:
        """The seed, from any of the places where a call can set it."""
        options = self.primitive_options()
        named = [options.get("simulator", {}).get("seed_simulator"), options.get("seed_estimator")]
        return next((seed for seed in (self.seed, *named) if seed is not None), None)

    def inputs_on(self, block: RuntimeBackend) -> dict[str, Any]:
        """Return the inputs of the job as the service of a block takes them."""
        if block.kind.takes_seed:
            return self.inputs(block.unsupported_options)
        return self.ibm_inputs()

    def inputs(self, unsupported: UnsupportedOptions) -> dict[str, Any]:
        """Return the inputs of the job: those that IBM's clients send, and our own.

        Raises:
            InvalidInputError: An option breaks a rule; the message names it.
        """
        options = self.primitive_options()
        require_known_options(self.primitive, options)
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
            ConfigurationError: The call asks for something that IBM's service does not support.
        """
        self._require_ibm_can()
        require_known_options(self.primitive, self.primitive_options())
        if not list(self.pubs):
            raise InvalidInputError(
                f"The {self.primitive} was given no PUB; a job on IBM Quantum would be billed.",
                path="$.pubs",
                rule="one or more PUBs",
            )
        _require_shots(self.primitive_options().get("default_shots"))
        try:
            asked = seams.primitive_inputs(self.primitive, self.primitive_options())
        except (ValueError, TypeError) as exc:
            raise InvalidInputError(
                f"The options are not valid for the {self.primitive} of qiskit-ibm-runtime"
                f" {seams.upstream_version()}: {seams.first_fault(exc)}",
                path="$.options",
                rule="options of qiskit-ibm-runtime",
            ) from exc
        return {"pubs": list(self.pubs), **asked}

    def _require_ibm_can(self) -> None:
        require_no_simulation(self.primitive_options())
        if self.seed is not None:
            beside = " The option seed_estimator fixes the randomization of circuits only."
            raise ConfigurationError(
                f"{NO_SEED_ON_DEVICES}{beside if self.primitive == 'estimator' else ''}"
            )

    def primitive_options(self) -> dict[str, Any]:
        """Return the options of the primitive, without those of its job."""
        options, _ = split_options(plain_options(self.options))
        if self.shots is not None:
            options["default_shots"] = self.shots
        if self.precision is not None:
            options.pop("default_shots", None)
            options["default_precision"] = self.precision
        return options


def _with_simulation(options: dict[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a primitive, laid over the settings of a simulation.

    A setting with its default is left out, so that the call equals one without it.
    """
    asked = options.get("simulator", {})
    if not isinstance(asked, Mapping):  # refused with the other options
        return options
    simulator = lay_simulation_over(below, asked)
    if simulator or ("simulator" in options and not asked):
        return {**options, "simulator": simulator}
    return {name: value for name, value in options.items() if name != "simulator"}


def require_no_simulation(options: Mapping[str, Any]) -> None:
    """Refuse settings of a simulation for IBM Quantum.

    Raises:
        ConfigurationError: The options of a primitive have such settings.
    """
    experimental = options.get("experimental") or {}
    for simulator in (options.get("simulator") or {}, experimental.get("simulator") or {}):
        if named := simulation_settings(simulator):
            names = ", ".join(f"simulator.{name}" for name in named)
            raise ConfigurationError(
                f"{names} cannot be used with IBM Quantum: its jobs run on devices, and nothing is"
                " simulated. Use a backend of service='embedded' or 'team', or leave it out."
            )


def _require_shots(shots: Any) -> None:
    # The models of qiskit-ibm-runtime accept 0 and less, and the job then fails.
    if isinstance(shots, int) and shots < 1:
        raise InvalidInputError(
            f"shots must be a whole number of 1 or more, not {shots}.",
            path="$.options.default_shots",
            rule="1 or more shots",
        )


def plain_options(options: PrimitiveOptionsLike) -> dict[str, Any]:
    """Return options as a mapping that has only the options that were set.

    Raises:
        ConfigurationError: They are neither a mapping nor an options object.
    """
    if options is None:
        return {}
    if isinstance(options, BaseModel):  # the options of the executor
        return options.model_dump(exclude_unset=True)
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        return _without_unset(dataclasses.asdict(options))
    if isinstance(options, Mapping):
        return _without_unset(options)
    raise ConfigurationError(
        "options of a primitive must be a mapping in the form of qiskit-ibm-runtime, such as "
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
    """Separate the options of a primitive from the options of its job."""
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


def job_options(options: PrimitiveOptionsLike) -> RuntimeOptions:
    """Return the options of the job of a call, from the options of its primitive.

    Raises:
        ConfigurationError: An option has an invalid value.
    """
    _, of_the_job = split_options(plain_options(options))
    return RuntimeOptions.read(of_the_job)


def _coerce_pubs(primitive: PrimitiveName, pubs: Iterable[Any]) -> list[Any]:
    from qiskit.exceptions import QiskitError

    from prefect_qiskit_runtime.program import constructs

    coerce = _sampler_pub if primitive == "sampler" else _estimator_pub
    coerced = []
    for index, pub in enumerate(_parts(primitive, pubs)):
        with _naming(index):
            written = _written_values(primitive, pub)
            constructs.require_unmasked_values(written)
            constructs.require_real_values(written)
            try:
                coerced.append(coerce(pub))
            # Qiskit raises different errors for different invalid values.
            except (TypeError, ValueError, LookupError, AttributeError, QiskitError) as exc:
                _refuse(primitive, index, getattr(exc, "message", None) or str(exc), exc)
            constructs.require_no_inputs(coerced[-1].circuit)
            constructs.require_finite_values(coerced[-1].parameter_values)
    return coerced


def _written_values(primitive: PrimitiveName, pub: Any) -> Any:
    """Return the parameter values of a PUB as the user wrote them; None if there are none."""
    position = 1 if primitive == "sampler" else 2
    return pub[position] if isinstance(pub, tuple | list) and len(pub) > position else None


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Put the place of a PUB into the error that refuses it."""
    try:
        yield
    except InvalidInputError as exc:
        if (exc.path or "").startswith("$.pubs["):
            raise
        raise InvalidInputError(
            f"pubs[{index}]: {exc}", path=f"$.pubs[{index}]", rule=exc.rule
        ) from exc


def _sampler_pub(pub: Any) -> Any:
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from prefect_qiskit_runtime.program.constructs import require_result_names
    from prefect_qiskit_runtime.program.isa import require_registers

    coerced = SamplerPub.coerce(pub)
    require_registers(coerced.circuit)
    require_result_names(coerced.circuit)
    return coerced


def _estimator_pub(pub: Any) -> Any:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

    from prefect_qiskit_runtime.program.constructs import require_precision

    coerced = EstimatorPub.coerce(pub)
    require_precision(coerced.precision, "$.pubs")
    return coerced


def _parts(primitive: PrimitiveName, pubs: Any) -> tuple[Any, ...]:
    """Return the PUBs of a call; raise an error if the call has a single PUB instead of a list."""
    from qiskit.circuit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    is_list = isinstance(pubs, Iterable) and not isinstance(
        pubs, QuantumCircuit | SamplerPub | EstimatorPub
    )
    parts = tuple(pubs) if is_list else ()
    # A tuple may be a single PUB: a circuit, followed by something that is not a PUB itself.
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
        f"pubs[{index}] is not a PUB of the {primitive}: {fault.rstrip('.')}. Each PUB is"
        f" {_FORMS[primitive]}; "
        "all parts except the first may be left out or None.",
        path=f"$.pubs[{index}]",
        rule="PUBs",
    ) from exc
