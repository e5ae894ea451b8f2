"""The estimator of a program's backend: exact, or from shots, as requested."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveJob, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._exact import exact_values
from prefect_qiskit_runtime.program._request import coerced_pub, run_each
from prefect_qiskit_runtime.program._seeds import SeedSource
from prefect_qiskit_runtime.program.evaluations import Evaluations
from prefect_qiskit_runtime.program.sampled import sampled_values

if TYPE_CHECKING:
    from prefect_qiskit_runtime.program._simulated import SimulatedBackend
    from prefect_qiskit_runtime.program.readout import ReadoutMitigator

DEFAULT_SHOTS = 4096


class ProgramEstimator(BaseEstimatorV2):
    """Estimates expectation values; made by `ProgramBackend.estimator`.

    The metadata of each PubResult reports the method: `path` ("exact", "sampled", or
    "approximate" for values of matrix product states with limited bonds), `shots` (for each group;
    None if exact), `num_groups`, `seed`, `target_precision` and `simulation_methods`.
    """

    def __init__(
        self,
        backend: SimulatedBackend,
        *,
        shots: int | None = None,
        precision: float | None = None,
        seed: int | None = None,
        readout: ReadoutMitigator | None = None,
    ) -> None:
        """Create an estimator; see `ProgramBackend.estimator`.

        `readout` mitigates the readout errors of estimates from shots.
        """
        if shots is not None and precision is not None:
            raise InvalidInputError(
                f"An estimator takes shots or precision, not both (shots={shots}, "
                f"precision={precision}): precision p means 1/p**2 shots.",
                rule="shots or precision",
            )
        if shots is not None and shots < 1:
            raise InvalidInputError(f"shots must be 1 or more, not {shots}.", rule="shots >= 1")
        _shots_for(precision)
        self._backend = backend
        self._shots = shots
        self._precision = precision
        self._seeds = SeedSource(seed)
        self._readout = readout

    def run(
        self, pubs: Iterable[Any], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Estimate the expectation values of PUBs.

        Args:
            pubs: Each (circuit, observables), then optionally parameter values and a precision.
            precision: Precision of PUBs that specify none. 0 requests exact values.

        Returns:
            A job of Qiskit; its `result()` waits.

        Raises:
            InvalidInputError: A precision is negative, or 0 on a backend with noise.
        """
        coerced = [coerced_pub(EstimatorPub, pub, precision) for pub in pubs]
        # Seeds are drawn here, not in the job's thread, so that they follow the order of calls.
        planned = [(pub, self._shots_of(pub), self._seeds.draw()) for pub in coerced]
        job: PrimitiveJob[Any] = PrimitiveJob(self._run, planned)
        job._submit()
        return job

    def _shots_of(self, pub: EstimatorPub) -> int | None:
        """Return the shots of a PUB, None for exact."""
        precision = self._precision if pub.precision is None else pub.precision
        if precision is not None:
            shots = _shots_for(precision)
            if shots is None and not self._backend.is_ideal:
                raise InvalidInputError(
                    f"precision=0 asks for exact values, which {self._backend.name} with its "
                    "noise does not give. Name a precision above 0, or use aer_simulator.",
                    rule="precision > 0 on backends with noise",
                )
            return shots
        if self._shots is None and not self._backend.is_ideal:
            return DEFAULT_SHOTS
        return self._shots

    def _run(
        self, planned: list[tuple[EstimatorPub, int | None, int]]
    ) -> PrimitiveResult[PubResult]:
        return PrimitiveResult(run_each(self._estimate, planned), metadata={"version": 2})

    def _estimate(self, pub: EstimatorPub, shots: int | None, seed: int) -> PubResult:
        evaluations = Evaluations.of(pub)
        shape = evaluations.shape
        precision = self._precision if pub.precision is None else pub.precision
        metadata = {"target_precision": precision, "circuit_metadata": pub.circuit.metadata}
        if shots is None:
            exact = exact_values(self._backend, evaluations)
            data = DataBin(evs=exact.values.reshape(shape), stds=np.zeros(shape), shape=shape)
            how = self._backend.describe_simulation(pub.circuit, exact.methods)
            path = "approximate" if self._backend.limits_bonds(exact.methods) else "exact"
            metadata |= {"path": path, "shots": None, "num_groups": 0, "seed": None, **how}
            return PubResult(data, metadata)
        sampled = sampled_values(self._backend, evaluations, shots, seed, self._readout)
        data = DataBin(
            evs=sampled.values.reshape(shape), stds=sampled.deviations.reshape(shape), shape=shape
        )
        metadata |= {
            "path": "sampled",
            "shots": shots,
            "num_groups": sampled.num_groups,
            "seed": seed,
            **self._backend.describe_simulation(pub.circuit, sampled.methods),
        }
        return PubResult(data, metadata)


def _shots_for(precision: float | None) -> int | None:
    """Return the shots of each group for a precision, None for 0."""
    if precision is None or precision == 0:
        return None
    if precision < 0:
        raise InvalidInputError(
            f"precision must not be below 0: {precision}.", rule="precision >= 0"
        )
    return math.ceil(1 / precision**2)
