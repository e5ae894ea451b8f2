"""The primitive `executor` as a job: a quantum program in, an array for each register out.

An item is a circuit with an array of arguments, or a template circuit with a samplex that draws
the arguments: twirled gates, twisted measurements, injected noise. The samplex reports its draws
(which bits it flipped, with which sign); they are returned with the measured bits, and the client
reverses them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._executor_schema import ChunkTiming, ExecutorParams, ProgramItem
from prefect_qiskit_runtime.program._noise import NoiseOfJob
from prefect_qiskit_runtime.program._register_bits import CHUNK_SHOTS, RegisterSampler
from prefect_qiskit_runtime.program._request import handle_unsupported, naming
from prefect_qiskit_runtime.program._seeds import SeedSource
from prefect_qiskit_runtime.program.constructs import require_finite_arguments
from prefect_qiskit_runtime.program.isa import require_isa, require_registers
from prefect_qiskit_runtime.program.primitive_options import read_options

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit

    from prefect_qiskit_runtime.program._backend import ProgramBackend


@dataclass(frozen=True)
class _Plan:
    """One item with its drawn arguments.

    Attributes:
        circuit: The circuit of the item.
        values: 2D array, each row the arguments of one circuit.
        shape: The shape of the item; the product is the number of rows.
        drawn: Further outputs of the samplex, with `shape` followed by an inner shape.
        chunk_size: Circuits that run at a time.
    """

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    shape: tuple[int, ...]
    drawn: Mapping[str, NDArray[Any]]
    chunk_size: int


def run_executor(
    backend: ProgramBackend, inputs: Mapping[str, Any], *, unsupported_options: str
) -> dict[str, Any]:
    """Run a quantum program.

    Args:
        backend: The backend to run on.
        inputs: The inputs of the job: `schema_version`, `quantum_program`, `options`.
        unsupported_options: Whether options that change nothing here are refused or recorded.

    Returns:
        The result in the form of the same version.

    Raises:
        InvalidInputError: An item or an option breaks a rule; the message names it.
    """
    params = ExecutorParams.read(inputs)
    options = read_options("executor", params.options)
    handle_unsupported(options, unsupported_options)
    if params.measurement_level != "classified":
        raise InvalidInputError(
            f"meas_level={params.measurement_level!r} asks for signals of measurements, which "
            "simulators do not have: only 'classified' is supported.",
            path="$.quantum_program.meas_level",
            rule="meas_level: classified",
        )
    noise = NoiseOfJob.use(backend, options.noise_model)
    backend.use_simulation(options.simulation)
    seeds = SeedSource(options.seed)
    rng = np.random.default_rng(seeds.draw())
    plans = []
    for index, item in enumerate(params.items()):
        with naming("$.quantum_program.items", index):
            plans.append(_planned(backend, item, params.shots, rng))
            noise.notes_on(backend, plans[-1].circuit, f"items[{index}]")
    arrays, chunks = [], []
    for index, plan in enumerate(plans):
        with naming("$.quantum_program.items", index):
            found, spans = _run(backend, plan, params.shots, seeds, index)
        arrays.append({**plan.drawn, **found})
        chunks += spans
    return params.result(arrays, chunks, options.unsupported)


def _planned(
    backend: ProgramBackend, item: ProgramItem, shots: int, rng: np.random.Generator
) -> _Plan:
    circuit = item.circuit
    require_registers(circuit)
    if backend.imitates_device:
        require_isa(circuit, backend.target, str(backend.name))
    drawn: dict[str, NDArray[Any]] = {}
    if item.samplex is None:
        assert item.arguments is not None  # noqa: S101 - one of the two is there
        shape = np.broadcast_shapes(item.shape, item.arguments.shape[:-1])
        arguments = np.broadcast_to(item.arguments, (*shape, item.arguments.shape[-1]))
    else:
        shape, drawn = _draw(item, rng)
        arguments = drawn.pop("parameter_values", np.zeros((*shape, 0)))
    if arguments.shape[-1] != circuit.num_parameters:
        raise InvalidInputError(
            f"it has {arguments.shape[-1]} arguments for the {circuit.num_parameters} parameters "
            "of its circuit.",
            rule="an argument for each parameter",
        )
    require_finite_arguments(arguments, [parameter.name for parameter in circuit.parameters])
    return _Plan(
        circuit=circuit,
        values=arguments.reshape(math.prod(shape), -1),
        shape=shape,
        drawn=drawn,
        chunk_size=item.chunk_size or max(1, CHUNK_SHOTS // shots),
    )


def _draw(
    item: ProgramItem, rng: np.random.Generator
) -> tuple[tuple[int, ...], dict[str, NDArray[Any]]]:
    """Sample a samplex; axes that its arguments lack are independent draws.

    Returns:
        The shape of the item; each output of the samplex, with that shape and an inner shape.
    """
    arguments = item.samplex.inputs().make_broadcastable().bind(**item.samplex_arguments)
    if not arguments.fully_bound:
        raise InvalidInputError(
            f"its samplex lacks arguments: {arguments.describe(include_bound=False)}",
            rule="all arguments of the samplex",
        )
    shape = np.broadcast_shapes(item.shape, arguments.shape)
    given = (1,) * (len(shape) - arguments.ndim) + arguments.shape
    swept = [axis for axis, length in enumerate(given) if length > 1]
    others = tuple(length for axis, length in enumerate(shape) if axis not in swept)
    outputs: dict[str, NDArray[Any]] = {}
    for position in np.ndindex(*(shape[axis] for axis in swept)):
        at = dict(zip(swept, position, strict=True))
        place = [at.get(axis, 0) for axis in range(len(shape))]
        chosen = arguments[tuple(place[len(shape) - arguments.ndim :])]
        sample = item.samplex.sample(chosen, num_randomizations=math.prod(others), rng=rng)
        where = tuple(at.get(axis, slice(None)) for axis in range(len(shape)))
        for name, values in dict(sample).items():
            inner = values.shape[1:]
            if name not in outputs:
                outputs[name] = np.empty((*shape, *inner), dtype=values.dtype)
            outputs[name][where] = values.reshape(*others, *inner)
    return shape, outputs


def _run(
    backend: ProgramBackend, plan: _Plan, shots: int, seeds: SeedSource, index: int
) -> tuple[dict[str, NDArray[np.bool_]], list[ChunkTiming]]:
    sampler = RegisterSampler(backend, plan.circuit)
    parts: list[dict[str, NDArray[np.bool_]]] = []
    chunks = []
    for start in range(0, len(plan.values), plan.chunk_size):
        stop = min(start + plan.chunk_size, len(plan.values))
        began_at = datetime.now(UTC)
        parts.append(sampler.sample(plan.values[start:stop], shots=shots, seed=seeds.draw()))
        ended_at = datetime.now(UTC)
        chunks.append(ChunkTiming(index, plan.shape, start, stop, began_at, ended_at))
    arrays = {
        register.name: np.concatenate(
            [part[register.name] for part in parts] or [np.zeros((0, shots, len(register)), bool)]
        ).reshape(*plan.shape, shots, len(register))
        for register in plan.circuit.cregs
    }
    return arrays, chunks
