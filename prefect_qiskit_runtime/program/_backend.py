"""The backend that a program gets: a simulated one with primitives.

The primitives are imported on use: in images with Qiskit before 1.0 those base classes are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_qiskit_runtime.program._simulated import SimulatedBackend

if TYPE_CHECKING:
    from qiskit.primitives import BaseEstimatorV2, BaseSamplerV2


class ProgramBackend(SimulatedBackend):
    """A backend for programs.

    It works wherever Qiskit takes a backend: `backend.run`, `transpile`, preset pass managers,
    `BackendSamplerV2`, and `SamplerV2(mode=backend)` of qiskit-ibm-runtime. `estimator()` and
    `sampler()` are its own primitives: the estimator can be exact.

    There are two kinds. The ideal one has no noise and connects all qubits; it takes any
    circuit. The others imitate a device, with its noise, and like the device they take only
    circuits in its instruction set: transpile first.
    """

    def estimator(
        self,
        *,
        shots: int | None = None,
        precision: float | None = None,
        seed: int | None = None,
    ) -> BaseEstimatorV2:
        """Return an estimator of expectation values.

        Without shots and precision it is exact on the ideal backend, with zero standard
        deviation, and takes 4096 shots on one with noise. A precision in a PUB or in `run`
        takes precedence over both.

        Args:
            shots: Shots for each group of observables that are measured together.
            precision: In place of shots: 1/precision**2 shots, rounded up, for each group.
            seed: Makes the sequence of results reproducible. Each call still samples afresh.
        """
        from prefect_qiskit_runtime.program.estimator import ProgramEstimator

        return ProgramEstimator(self, shots=shots, precision=precision, seed=seed)

    def sampler(self, shots: int | None = None, seed: int | None = None) -> BaseSamplerV2:
        """Return a sampler of measured bit strings.

        Args:
            shots: Shots of a PUB that names none; 4096 if None.
            seed: Makes the sequence of results reproducible. Each call still samples afresh.
        """
        from prefect_qiskit_runtime.program._sampler import ProgramSampler

        return ProgramSampler(self, shots=shots, seed=seed)
