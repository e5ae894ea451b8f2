"""The primitives `sampler` and `estimator` as jobs: PUBs and options in, a PrimitiveResult out.

All PUBs are checked before the first one runs, and an error names the PUB that caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qiskit.primitives import DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from prefect_qiskit_runtime.codec.delays import with_circuit, with_plain_durations
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._backend import ProgramBackend
from prefect_qiskit_runtime.program._noise import NoiseOfJob
from prefect_qiskit_runtime.program._request import coerced_pub, handle_unsupported, naming
from prefect_qiskit_runtime.program.constructs import (
    require_finite_values,
    require_no_inputs,
    require_precision,
    require_result_names,
    require_shots,
    require_simulable,
)
from prefect_qiskit_runtime.program.isa import require_isa, require_registers
from prefect_qiskit_runtime.program.primitive_options import (
    NO_OPTIONS,
    PrimitiveName,
    PrimitiveOptions,
    read_options,
    require_known_inputs,
)
from prefect_qiskit_runtime.program.transpiled import PubTranspiler


@dataclass(frozen=True)
class Request:
    """The request of one job of a primitive.

    Attributes:
        pubs: The PUBs, decoded but not yet checked.
        options: The options, in the form of qiskit-ibm-runtime.
        unsupported_options: Whether options that have no effect here are refused or recorded.
        transpile: Whether circuits are transpiled for the backend first.
        beside: Further inputs; each is treated as an option.
    """

    pubs: Sequence[Any]
    options: Any
    unsupported_options: str
    transpile: bool
    beside: dict[str, Any]

    @classmethod
    def read(cls, inputs: Mapping[str, Any], *, unsupported_options: str) -> Request:
        """Read the inputs of a job.

        Raises:
            InvalidInputError: An input is unknown.
        """
        require_known_inputs(inputs)
        beside = {name: value for name, value in inputs.items() if name not in NO_OPTIONS}
        return cls(
            pubs=inputs["pubs"],
            options=inputs.get("options"),
            unsupported_options=unsupported_options,
            transpile=inputs.get("transpile", False),
            beside=beside,
        )

    def read_options(self, primitive: PrimitiveName) -> PrimitiveOptions:
        """Read the options, and refuse or log those that are not supported."""
        options = read_options(primitive, self.options, **self.beside)
        handle_unsupported(options, self.unsupported_options)
        return options


def run_sampler(backend: ProgramBackend, request: Request) -> PrimitiveResult[Any]:
    """Sample PUBs.

    Raises:
        InvalidInputError: A PUB or an option breaks a rule; the message names it.
    """
    options = request.read_options("sampler")
    noise = NoiseOfJob.use(backend, options.noise_model)
    backend.use_simulation(options.simulation)
    sampler = backend.sampler(shots=options.shots, seed=options.seed)
    return _run(backend, request, options, noise, coerce=_sampler_pub, run=sampler.run)


def run_estimator(backend: ProgramBackend, request: Request) -> PrimitiveResult[Any]:
    """Estimate the expectation values of PUBs.

    Raises:
        InvalidInputError: A PUB or an option breaks a rule; the message names it.
    """
    options = request.read_options("estimator")
    noise = NoiseOfJob.use(backend, options.noise_model)
    backend.use_simulation(options.simulation)
    # As in qiskit-ibm-runtime, default_shots overrides default_precision.
    precision = None if options.shots is not None else options.precision
    estimator = backend.estimator(shots=options.shots, precision=precision, seed=options.seed)
    return _run(backend, request, options, noise, coerce=_estimator_pub, run=estimator.run)


def _sampler_pub(pub: Any) -> SamplerPub:
    coerced = coerced_pub(SamplerPub, pub)
    require_registers(coerced.circuit)
    require_result_names(coerced.circuit)
    return _simulable(coerced)


def _estimator_pub(pub: Any) -> EstimatorPub:
    coerced = coerced_pub(EstimatorPub, pub)
    require_precision(coerced.precision, "$.pubs")
    return _simulable(coerced)


def _simulable(pub: Any) -> Any:
    """Return a PUB for simulators, with all durations computed."""
    require_no_inputs(pub.circuit)
    require_finite_values(pub.parameter_values)
    require_simulable(pub.circuit)
    require_shots(getattr(pub, "shots", None))
    return with_circuit(pub, with_plain_durations(pub.circuit))


def _run(
    backend: ProgramBackend,
    request: Request,
    options: PrimitiveOptions,
    noise: NoiseOfJob,
    *,
    coerce: Callable[[Any], Any],
    run: Callable[[list[Any]], Any],
) -> PrimitiveResult[Any]:
    pubs: list[Any] = []
    registers: list[list[str]] = []
    notes: list[list[str]] = []
    device = noise.device_for(backend)
    transpiler = PubTranspiler(backend, device=device) if request.transpile else None
    for index, pub in enumerate(request.pubs):
        with naming("$.pubs", index):
            coerced = coerce(pub)
            registers.append([register.name for register in coerced.circuit.cregs])
            marked = noise.is_on_marked_gates(backend, coerced.circuit)
            if transpiler is not None and not marked:
                coerced = transpiler.transpiled(coerced)
            _require_isa(backend, coerced)
            pubs.append(coerced)
            notes.append(noise.notes_on(backend, coerced.circuit, f"pubs[{index}]"))
    results: list[PubResult] = []
    for index, pub in enumerate(pubs):
        with naming("$.pubs", index):
            (result,) = run([pub]).result()
        if isinstance(pub, SamplerPub):
            result = _with_registers(result, registers[index])
        if transpiler is not None:
            result.metadata["layout"] = transpiler.layout_of(pub)
        if notes[index]:
            result.metadata["notes"] = [*result.metadata.get("notes", []), *notes[index]]
        results.append(result)
    metadata: dict[str, Any] = {"version": 2}
    if options.unsupported:
        metadata["unsupported_options"] = dict(options.unsupported)
    return PrimitiveResult(results, metadata=metadata)


def _with_registers(result: SamplerPubResult, names: list[str]) -> SamplerPubResult:
    """Return a result without the registers that were added for the transpiler."""
    data = {name: result.data[name] for name in names}
    return SamplerPubResult(DataBin(**data, shape=result.data.shape), result.metadata)


def _require_isa(backend: ProgramBackend, pub: Any) -> None:
    if backend.imitates_device:
        try:
            require_isa(pub.circuit, backend.target, str(backend.name))
        except InvalidInputError as exc:
            raise InvalidInputError(
                f"{exc} Or submit with transpile=True, which does both in the job.", rule=exc.rule
            ) from exc
