"""The sampler of a program's backend."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from qiskit.primitives import (
    BaseSamplerV2,
    BitArray,
    DataBin,
    PrimitiveJob,
    PrimitiveResult,
    SamplerPubResult,
)
from qiskit.primitives.containers.sampler_pub import SamplerPub

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._register_bits import RegisterSampler
from prefect_qiskit_runtime.program._request import coerced_pub, run_each
from prefect_qiskit_runtime.program._seeds import SeedSource
from prefect_qiskit_runtime.program.estimator import DEFAULT_SHOTS
from prefect_qiskit_runtime.program.isa import require_isa

if TYPE_CHECKING:
    from prefect_qiskit_runtime.program._simulated import SimulatedBackend


class ProgramSampler(BaseSamplerV2):
    """Samples bit strings; made by `ProgramBackend.sampler`.

    Calls draw fresh samples from one seed, and any circuit runs on the ideal backend. The
    metadata of each PubResult has `path`, `shots`, `seed` and `simulation_methods`.
    """

    def __init__(
        self, backend: SimulatedBackend, *, shots: int | None = None, seed: int | None = None
    ) -> None:
        """Create a sampler; see `ProgramBackend.sampler`."""
        if shots is not None and shots < 1:
            raise InvalidInputError(f"shots must be 1 or more, not {shots}.", rule="shots >= 1")
        self._backend = backend
        self._shots = DEFAULT_SHOTS if shots is None else shots
        self._seeds = SeedSource(seed)

    def run(
        self, pubs: Iterable[Any], *, shots: int | None = None
    ) -> PrimitiveJob[PrimitiveResult[SamplerPubResult]]:
        """Sample PUBs.

        Args:
            pubs: Each a circuit, or (circuit, parameter values, shots).
            shots: Shots of PUBs that specify none.

        Returns:
            A job of Qiskit; its `result()` waits.
        """
        default = self._shots if shots is None else shots
        coerced = [coerced_pub(SamplerPub, pub, default) for pub in pubs]
        planned = [(pub, self._seeds.draw()) for pub in coerced]
        job: PrimitiveJob[Any] = PrimitiveJob(self._run, planned)
        job._submit()
        return job

    def _run(self, planned: list[tuple[SamplerPub, int]]) -> PrimitiveResult[SamplerPubResult]:
        return PrimitiveResult(run_each(self._sample, planned), metadata={"version": 2})

    def _sample(self, pub: SamplerPub, seed: int) -> SamplerPubResult:
        circuit, shape, shots = pub.circuit, pub.shape, cast(int, pub.shots)
        if self._backend.imitates_device:
            require_isa(circuit, self._backend.target, str(self._backend.name))
        values = pub.parameter_values.as_array(circuit.parameters)
        rows = np.asarray(values, dtype=float).reshape(math.prod(shape), circuit.num_parameters)
        sampler = RegisterSampler(self._backend, circuit)
        bits = sampler.sample_in_chunks(rows, shots=shots, seed=seed)
        data = {
            name: BitArray.from_bool_array(
                array.reshape(*shape, shots, array.shape[-1]), order="little"
            )
            for name, array in bits.items()
        }
        metadata = {
            "shots": shots,
            "circuit_metadata": circuit.metadata,
            "path": "sampled",
            "seed": seed,
            **self._backend.describe_simulation(circuit, sampler.methods),
        }
        return SamplerPubResult(DataBin(**data, shape=shape), metadata)
