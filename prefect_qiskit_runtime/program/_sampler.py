"""The sampler of a program's backend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qiskit.primitives import (
    BackendSamplerV2,
    BaseSamplerV2,
    PrimitiveJob,
    PrimitiveResult,
    SamplerPubResult,
)
from qiskit.primitives.containers.sampler_pub import SamplerPub

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._seeds import SeedSource
from prefect_qiskit_runtime.program.estimator import DEFAULT_SHOTS
from prefect_qiskit_runtime.program.transpiled import bindings_for

if TYPE_CHECKING:
    from prefect_qiskit_runtime.program._backend import ProgramBackend


class ProgramSampler(BaseSamplerV2):
    """Samples bit strings; made by `ProgramBackend.sampler`.

    Qiskit's BackendSamplerV2 does the work. This adds that calls draw fresh samples from one
    seed, that any circuit runs on the ideal backend, and a record: the metadata of each
    PubResult has `path`, `shots` and `seed`.
    """

    def __init__(
        self, backend: ProgramBackend, *, shots: int | None = None, seed: int | None = None
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
            shots: For PUBs that name none.

        Returns:
            A job of Qiskit; its `result()` waits.
        """
        default = self._shots if shots is None else shots
        coerced = [SamplerPub.coerce(pub, default) for pub in pubs]
        planned = [(pub, self._seeds.draw()) for pub in coerced]
        job: PrimitiveJob[Any] = PrimitiveJob(self._run, planned)
        job._submit()
        return job

    def _run(self, planned: list[tuple[SamplerPub, int]]) -> PrimitiveResult[SamplerPubResult]:
        return PrimitiveResult([self._sample(*plan) for plan in planned], metadata={"version": 2})

    def _sample(self, pub: SamplerPub, seed: int) -> SamplerPubResult:
        sampler = BackendSamplerV2(backend=self._backend, options={"seed_simulator": seed})
        result = sampler.run([self._compiled(pub)]).result()[0]
        metadata = {**result.metadata, "path": "sampled", "shots": pub.shots, "seed": seed}
        return SamplerPubResult(result.data, metadata)

    def _compiled(self, pub: SamplerPub) -> SamplerPub:
        """Translate the circuit before its parameters are bound: once, not for each set."""
        if not self._backend.is_ideal:
            return pub
        circuit = self._backend.compiler.compiled(pub.circuit)
        if circuit is pub.circuit:
            return pub
        return SamplerPub(circuit, bindings_for(circuit, pub), pub.shots)
