"""The settings of a primitive in the form that clients before 2024 send.

They come in three groups: `run_options`, `transpilation_settings` and `resilience_settings`.
Error mitigation has no effect on a simulator, and is recorded as unsupported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_qiskit_runtime.program.primitive_options import (
    PrimitiveOptions,
    read_number,
    require_mapping,
)

# Settings of error mitigation by extrapolation, which clients send even if it is off.
_EXTRAPOLATION = frozenset({"noise_amplifier", "noise_factors", "extrapolator"})
_EXTRAPOLATES_FROM = 2
_HIGHEST_OPTIMIZATION = 3


@dataclass(frozen=True)
class Transpilation:
    """How circuits are transpiled.

    Attributes:
        skip: Whether they are already in the instruction set of the backend.
        level: The optimization level.
        passes: Further arguments of `generate_preset_pass_manager`.
        device: `coupling_map` and `basis_gates` to assume for an ideal backend.
    """

    skip: bool = False
    level: int = 1
    passes: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)


def read_legacy_options(
    inputs: Mapping[str, Any],
) -> tuple[PrimitiveOptions, Transpilation]:
    """Read the settings among the inputs of a job.

    Args:
        inputs: All inputs except circuits, values and observables.

    Raises:
        InvalidInputError: A setting has the wrong type.
    """
    groups = ("run_options", "transpilation_settings", "resilience_settings")
    run, transpilation, resilience = (
        dict(require_mapping(inputs.get(name), f"$.{name}")) for name in groups
    )
    beside = {name: value for name, value in inputs.items() if name not in groups}
    unsupported: dict[str, Any] = {}
    read = _read_transpilation(transpilation, unsupported)
    shots = read_number(run.pop("shots", None), "run_options.shots", at_least=1)
    seed = read_number(run.pop("seed_simulator", None), "run_options.seed_simulator")
    noise_model = run.pop("noise_model", None)
    if run.get("init_qubits") is True:
        del run["init_qubits"]
    unsupported |= _given("run_options", run)
    unsupported |= _given("resilience_settings", dict(_mitigation(resilience)))
    unsupported |= {
        name: value for name, value in beside.items() if value is not None and value is not False
    }
    options = PrimitiveOptions(
        shots=shots, seed=seed, noise_model=noise_model, unsupported=unsupported
    )
    return options, read


def _read_transpilation(settings: dict[str, Any], unsupported: dict[str, Any]) -> Transpilation:
    """Read the settings of transpilation; those that current Qiskit lacks go to `unsupported`."""
    from qiskit.transpiler.preset_passmanagers.plugin import list_stage_plugins

    path = "transpilation_settings"
    skip = bool(settings.pop("skip_transpilation", False))
    optimization = dict(
        require_mapping(settings.pop("optimization_settings", None), f"$.{path}.optimization")
    )
    level = read_number(optimization.pop("level", None), f"{path}.optimization_settings.level")
    settings |= {f"optimization_settings.{name}": value for name, value in optimization.items()}
    device = {
        name: value
        for name in ("coupling_map", "basis_gates")
        if (value := settings.pop(name, None)) is not None
    }
    passes: dict[str, Any] = {}
    for name, known in (
        ("layout_method", list_stage_plugins("layout")),
        ("routing_method", list_stage_plugins("routing")),
        ("approximation_degree", None),
        ("initial_layout", None),
    ):
        value = settings.get(name)
        is_supported = isinstance(value, list) if name == "initial_layout" else known is None
        if value is not None and (is_supported or (known and value in known)):
            passes[name] = settings.pop(name)
    unsupported |= _given(path, settings)
    return Transpilation(
        skip=skip,
        level=min(1 if level is None else level, _HIGHEST_OPTIMIZATION),
        passes=passes,
        device=device,
    )


def _mitigation(resilience: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    level = read_number(resilience.get("level"), "resilience_settings.level") or 0
    if level > 0:
        yield "level", level
    for name, value in resilience.items():
        idle = name in _EXTRAPOLATION and level < _EXTRAPOLATES_FROM
        if name != "level" and not idle:
            yield name, value


def _given(group: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{group}.{name}": value for name, value in settings.items() if value is not None}
