"""Runs circuits for the public programs, with results in the form of the clients' RunnerResult."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, cast

from qiskit.circuit import QuantumCircuit
from qiskit.result import marginal_counts

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._verdict import require_success
from prefect_qiskit_runtime.program.readout import ReadoutMitigator, final_measurements

# Options of devices that have no effect on a simulator, whose shots all begin in 0.
_WITHOUT_EFFECT = frozenset(
    {"init_qubits", "rep_delay", "use_measure_esp", "init_num_resets", "init_delay"}
)
# Only classified measurements are simulated.
_CLASSIFIED = 2


def run_options(backend: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options of a program that `backend.run` accepts.

    Args:
        backend: The backend for the circuits.
        options: The options by name; None is treated as absent.

    Raises:
        InvalidInputError: An option is unknown, or simulators do not support its value.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if chosen.pop("meas_level", _CLASSIFIED) != _CLASSIFIED:
        raise InvalidInputError(
            f"meas_level={options['meas_level']}: simulators have no signals to return, only "
            "what they mean (meas_level 2, with `memory=True` for each shot).",
            path="$.meas_level",
            rule="meas_level 2",
        )
    if chosen.pop("meas_return", "single") not in ("single", "avg"):
        raise InvalidInputError(
            f"meas_return must be 'single' or 'avg', not {options['meas_return']!r}.",
            path="$.meas_return",
            rule="single or avg",
        )
    for name in sorted(_WITHOUT_EFFECT & set(chosen)):
        sys.stderr.write(f"{name} has no effect: {backend.name} is a simulator.\n")
        del chosen[name]
    unknown = sorted(set(chosen) - set(backend.options))
    if unknown:
        raise InvalidInputError(
            f"{backend.name} does not take the options {', '.join(unknown)}: it takes shots, "
            "memory, seed_simulator and the other options of qiskit_aer.AerSimulator.",
            path=f"$.{unknown[0]}",
            rule="options of the backend",
        )
    return chosen


def run_circuits(
    backend: Any, circuits: Sequence[QuantumCircuit], options: Mapping[str, Any], *, mitigate: bool
) -> dict[str, Any]:
    """Run circuits in the backend's instruction set.

    Args:
        backend: The backend to run on.
        circuits: One or more.
        options: As `run_options` returns them.
        mitigate: Whether to add quasi-probabilities with readout errors mitigated.

    Returns:
        `Result.to_dict()` with the fields that older versions of Qiskit require. With
        mitigation, the data of each circuit has `quasiprobabilities` by hexadecimal value, and
        its header `final_measurement_mapping`, `measurement_mitigation_time` (seconds) and
        `measurement_mitigation_overhead`.
    """
    if not circuits:
        raise InvalidInputError("No circuit was given.", path="$.circuits", rule="one or more")
    measured = [final_measurements(circuit) for circuit in circuits] if mitigate else []
    result = backend.run(list(circuits), **options).result()
    require_success(result, path="$.circuits")
    described = result.to_dict()
    # Qiskit 2 has dropped fields that older versions require in a result.
    described.setdefault("qobj_id", "")
    # The simulator that imitates a device has a different name.
    described["backend_name"] = backend.name
    if mitigate:
        seed = {"seed_simulator": options["seed_simulator"]} if "seed_simulator" in options else {}
        qubits = {qubit for mapping in measured for qubit in mapping}
        mitigator = ReadoutMitigator.calibrate(backend, qubits, **seed)
        for index, mapping in enumerate(measured):
            counts = result.get_counts(index)
            _mitigate(described["results"][index], mitigator, counts, mapping)
    return described


def _mitigate(
    experiment: dict[str, Any],
    mitigator: ReadoutMitigator,
    counts: Mapping[str, int],
    mapping: Mapping[int, int],
) -> None:
    begin = perf_counter()
    if len(mapping) < len(next(iter(counts)).replace(" ", "")):
        counts = cast(dict[str, int], marginal_counts(dict(counts), list(mapping.values())))
    joined = {string.replace(" ", ""): count for string, count in counts.items()}
    quasi = mitigator.mitigate(joined, list(mapping))
    experiment["data"]["quasiprobabilities"] = {
        hex(int(string, 2)): value for string, value in quasi.values.items()
    }
    experiment["header"] |= {
        "final_measurement_mapping": {str(qubit): bit for qubit, bit in mapping.items()},
        "measurement_mitigation_time": perf_counter() - begin,
        "measurement_mitigation_overhead": quasi.overhead,
    }
