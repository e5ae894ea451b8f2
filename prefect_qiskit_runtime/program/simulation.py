"""The settings of a simulation: its method, the limits of that method, and where it is computed.

Clients send them among the options of the simulator, under the names of the attributes below. The
choice of a method for a circuit is made in the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args

from prefect_qiskit_runtime.errors import InvalidInputError

__all__ = [
    "SETTING_NAMES",
    "SimulationMethod",
    "SimulationSettings",
    "SimulatorDevice",
    "lay_simulation_over",
    "simulation_settings",
    "without_defaults",
]

SimulationMethod = Literal[
    "automatic",
    "statevector",
    "density_matrix",
    "stabilizer",
    "extended_stabilizer",
    "matrix_product_state",
]
SimulatorDevice = Literal["CPU", "GPU"]

_WITH_BONDS = frozenset({"automatic", "matrix_product_state"})
_ON_GPU = frozenset({"automatic", "statevector", "density_matrix"})
_AER_NAMES = {
    "bond_dimension": "matrix_product_state_max_bond_dimension",
    "truncation": "matrix_product_state_truncation_threshold",
}


@dataclass(frozen=True)
class SimulationSettings:
    """How the circuits of a job are simulated.

    Attributes:
        method: The method, or "automatic" to choose one for each circuit.
        bond_dimension: Maximum dimension of each bond of a matrix product state.
        truncation: Matrix product states: the sum of squared Schmidt coefficients that may be cut
            off after a gate.
        max_memory_mb: Memory for the state of a circuit, in MiB.
        device: Where states are computed.
    """

    method: SimulationMethod = "automatic"
    bond_dimension: int | None = None
    truncation: float | None = None
    max_memory_mb: int | None = None
    device: SimulatorDevice = "CPU"

    @classmethod
    def read(
        cls, given: Mapping[str, Any], path: str = "$.options.simulator"
    ) -> SimulationSettings:
        """Read settings and check them.

        Args:
            given: Values by name; None is the default. Other names are ignored.
            path: Path of the settings in the inputs.

        Raises:
            InvalidInputError: A value is invalid, or two of them exclude each other.
        """
        named = simulation_settings(given)
        _require_choice(named, "method", get_args(SimulationMethod), path)
        _require_choice(named, "device", get_args(SimulatorDevice), path)
        _require_whole_number(named, "bond_dimension", path)
        _require_whole_number(named, "max_memory_mb", path)
        _require_fraction(named, "truncation", path)
        settings = cls(**named)
        settings._require_consistent(path)
        return settings

    def _require_consistent(self, path: str) -> None:
        for name in _AER_NAMES:
            if getattr(self, name) is not None and self.method not in _WITH_BONDS:
                raise InvalidInputError(
                    f"{name} limits matrix product states, but the simulation method is "
                    f"{self.method!r}: choose method 'matrix_product_state', or leave {name} out.",
                    path=f"{path}.{name}",
                    rule=f"{name} with method matrix_product_state or automatic",
                )
        if self.device == "GPU" and self.method not in _ON_GPU:
            raise InvalidInputError(
                f"The simulation method {self.method!r} runs on the CPU only: leave device out, "
                "or choose method 'statevector' or 'density_matrix'.",
                path=f"{path}.device",
                rule="device GPU with method statevector, density_matrix or automatic",
            )

    @property
    def named(self) -> dict[str, Any]:
        """The settings that differ from their defaults, by name."""
        return without_defaults({each.name: getattr(self, each.name) for each in fields(self)})

    @property
    def of_simulator(self) -> dict[str, Any]:
        """The same settings as options of Aer's simulator."""
        return {_AER_NAMES.get(name, name): value for name, value in self.named.items()}


SETTING_NAMES = tuple(each.name for each in fields(SimulationSettings))
_DEFAULTS = {each.name: each.default for each in fields(SimulationSettings)}


def simulation_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the simulation among options of a simulator, without unset ones."""
    return {name: options[name] for name in SETTING_NAMES if options.get(name) is not None}


def without_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a simulator without settings that have their default.

    So a request with the default is equal to one without the setting.
    """
    return {
        name: value
        for name, value in options.items()
        if name not in _DEFAULTS or (value is not None and value != _DEFAULTS[name])
    }


def lay_simulation_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a simulator, where those of `above` override those of `below`.

    Limits of a method belong to it: a method above overrides them too.
    """
    kept = dict(below)
    if above.get("method") is not None:
        for name in _AER_NAMES:
            kept.pop(name, None)
    given = {
        name: value for name, value in above.items() if name not in _DEFAULTS or value is not None
    }
    return without_defaults({**kept, **given})


def _require_choice(
    named: Mapping[str, Any], name: str, choices: tuple[str, ...], path: str
) -> None:
    if name in named and named[name] not in choices:
        raise InvalidInputError(
            f"Option 'simulator.{name}' must be one of {', '.join(choices)}, not "
            f"{named[name]!r:.80}.",
            path=f"{path}.{name}",
            rule=f"{name}: {', '.join(choices)}",
        )


def _require_whole_number(named: Mapping[str, Any], name: str, path: str) -> None:
    value = named.get(name)
    if value is None or (
        isinstance(value, Integral) and not isinstance(value, bool) and 1 <= int(value) < 2**63
    ):
        return
    raise InvalidInputError(
        f"Option 'simulator.{name}' must be a whole number of 1 or more, not {value!r:.80}.",
        path=f"{path}.{name}",
        rule=f"{name} >= 1",
    )


def _require_fraction(named: Mapping[str, Any], name: str, path: str) -> None:
    value = named.get(name)
    if value is None or (
        isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < 1
    ):
        return
    raise InvalidInputError(
        f"Option 'simulator.{name}' must be a number above 0 and below 1, not {value!r:.80}.",
        path=f"{path}.{name}",
        rule=f"0 < {name} < 1",
    )
