"""The options of a primitive on a simulator: their meaning, and which ones have no effect.

They have the form that clients of qiskit-ibm-runtime send. Options for hardware (error
mitigation, twirling, dynamical decoupling) have no effect here: they are refused, or the result
reports that they were ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal, get_args

from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.errors import InvalidInputError, close_name
from prefect_qiskit_runtime.program.constructs import require_precision, require_shots
from prefect_qiskit_runtime.program.simulation import SETTING_NAMES, SimulationSettings

__all__ = [
    "NO_OPTIONS",
    "PrimitiveName",
    "PrimitiveOptions",
    "UnsupportedOptions",
    "check_choice",
    "known_options",
    "read_number",
    "read_options",
    "require_known_inputs",
    "require_known_options",
    "require_mapping",
]

PrimitiveName = Literal["sampler", "estimator", "executor"]
UnsupportedOptions = Literal["refuse", "record"]

_COMMON = frozenset(
    {
        "simulator.seed_simulator",
        "simulator.noise_model",
        *(f"simulator.{name}" for name in SETTING_NAMES),
    }
)
_SUPPORTED: dict[PrimitiveName, frozenset[str]] = {
    "sampler": _COMMON | {"default_shots"},
    "estimator": _COMMON | {"default_shots", "default_precision", "seed_estimator"},
    "executor": _COMMON,
}
_TWIRLED = ("sampler", "estimator")
_RANDOMIZATIONS = ("twirling.num_randomizations", "twirling.shots_per_randomization")
# Options that request the normal behaviour of a simulator.
_ALWAYS_SO = {
    "resilience_level": 0,
    "init_qubits": True,
    "execution.init_qubits": True,
    "execution.meas_type": "classified",
}
# Inputs other than options; with the last two, clients specify how they send and read.
NO_OPTIONS = frozenset({"pubs", "options", "transpile", "version", "support_qiskit"})
# Options that clients send outside of `options`, and our own option.
_BESIDE = frozenset({"resilience_level", "unsupported_options"})
# Names that users try as inputs, and where the value belongs.
_BELONGS = {
    "shots": "in each PUB, as in (circuit, None, 1000), or in options={'default_shots': 1000}",
    "precision": "in each PUB, or in options={'default_precision': 0.01}",
    "seed": "in options={'simulator': {'seed_simulator': 7}}",
    "parameter_values": "in each PUB, as in (circuit, parameter_values)",
    "observables": "in each PUB, as in (circuit, observables)",
}
# Options that are a single value, although a mapping in JSON.
_WHOLE = frozenset({"simulator.noise_model"})
# Options that may have any content.
_FREE = ("experimental", *_WHOLE)

# The options of qiskit-ibm-runtime 0.49 to 0.51 by section. Later options are looked up in the
# installed version.
_OPTIONS = {
    "": "default_precision default_shots experimental max_execution_time resilience_level"
    " seed_estimator",
    "dynamical_decoupling.": "enable extra_slack_distribution scheduling_method sequence_type"
    " skip_reset_qubits",
    "environment.": "image job_tags log_level max_execution_time private",
    "execution.": "init_qubits meas_type rep_delay scheduler_timing stretch_values",
    "resilience.": "layer_noise_model measure_mitigation pec_mitigation zne_mitigation",
    "resilience.layer_noise_learning.": "layer_pair_depths max_layers_to_learn num_randomizations"
    " shots_per_randomization",
    "resilience.measure_noise_learning.": "num_randomizations shots_per_randomization",
    "resilience.pec.": "max_overhead noise_gain",
    "resilience.zne.": "amplifier extrapolated_noise_factors extrapolator noise_factors",
    "simulator.": "angle_decimals basis_gates coupling_map layer_noise_model noise_model"
    " seed_simulator warn_absent",
    "twirling.": "enable_gates enable_measure group num_randomizations shots_per_randomization"
    " strategy",
}


@dataclass(frozen=True)
class PrimitiveOptions:
    """The options of one job of a primitive.

    Attributes:
        shots: Shots of PUBs that specify none; overrides `precision`.
        precision: Precision of estimator PUBs that specify none.
        seed: Makes the job's results reproducible.
        noise_model: Replaces the noise of the backend; a NoiseModel, or the dict from its
            `to_dict`.
        simulation: The simulation method and its limits.
        unsupported: The options that have no effect on a simulator, by their path.
    """

    shots: int | None = None
    precision: float | None = None
    seed: int | None = None
    noise_model: Any = None
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    unsupported: Mapping[str, Any] = field(default_factory=dict)

    def require_supported(self) -> None:
        """Refuse options that have no effect on a simulator.

        Raises:
            InvalidInputError: The job has such options; the message names them.
        """
        if not self.unsupported:
            return
        names = ", ".join(self.unsupported)
        raise InvalidInputError(
            f"The simulators of this service do not support the options {names}. Leave them out, "
            "or set unsupported_options='record' on the RuntimeBackend: they are then ignored, "
            "and the result's metadata says so.",
            path=f"$.options.{next(iter(self.unsupported))}",
            rule="options are supported by the backend",
        )


def read_options(
    primitive: PrimitiveName, options: Mapping[str, Any] | None, **beside: Any
) -> PrimitiveOptions:
    """Read options in the form of qiskit-ibm-runtime.

    Args:
        primitive: The primitive that has the options.
        options: Nested by section, as in `{"simulator": {"seed_simulator": 7}}`.
        beside: Options that clients send outside of `options`, such as `resilience_level`.

    Raises:
        InvalidInputError: A value has the wrong type.
    """
    given = require_mapping(options, "$.options", what=f"The options of {primitive}")
    asked = dict(_leaves({**given, **beside}))
    known = {name: asked.pop(name) for name in _SUPPORTED[primitive] if name in asked}
    if primitive in _TWIRLED:
        known |= _shots_of_twirling(asked)
    seeds = [known.get("simulator.seed_simulator"), known.get("seed_estimator")]
    shots = read_number(known.get("default_shots"), "default_shots", at_least=1)
    require_shots(shots, "Option 'default_shots'")
    return PrimitiveOptions(
        shots=shots,
        precision=require_precision(known.get("default_precision")),
        seed=read_number(next((s for s in seeds if s is not None), None), "seed"),
        noise_model=known.get("simulator.noise_model"),
        simulation=SimulationSettings.read(
            {name: known.get(f"simulator.{name}") for name in SETTING_NAMES}
        ),
        unsupported={name: value for name, value in asked.items() if _asks(name, value)},
    )


def _shots_of_twirling(asked: dict[str, Any]) -> dict[str, Any]:
    """Take the options that set the shots by their product, which overrides `default_shots`.

    A simulator measures all shots on one circuit: the randomizations themselves have no effect.
    """
    if not all(isinstance(asked.get(name), Integral) for name in _RANDOMIZATIONS):
        return {}
    counts = [read_number(asked.pop(name), name, at_least=1) for name in _RANDOMIZATIONS]
    return {"default_shots": math.prod(counts)}


def require_known_inputs(inputs: Mapping[str, Any]) -> None:
    """Refuse unknown inputs of a primitive.

    Args:
        inputs: The inputs of a job of the sampler or the estimator. Inputs from clients before
            2024, which have no PUBs, are not checked.

    Raises:
        InvalidInputError: An input is unknown; the message explains where its value belongs.
    """
    if "pubs" not in inputs:
        return
    unknown = sorted(set(inputs) - NO_OPTIONS - _BESIDE)
    if unknown:
        name = unknown[0]
        belongs = f": its value belongs {_BELONGS[name]}" if name in _BELONGS else ""
        raise InvalidInputError(
            f"The sampler and the estimator have no input {name!r}{belongs}. Their inputs are "
            f"{', '.join(sorted(NO_OPTIONS | _BESIDE))}.",
            path=f"$.{name}",
            rule="inputs of a primitive",
        )


def known_options() -> frozenset[str]:
    """Return the paths of all options of primitives that this package knows."""
    of_ibm = {f"{section}{name}" for section, names in _OPTIONS.items() for name in names.split()}
    return frozenset().union(of_ibm, *_SUPPORTED.values())


def require_known_options(primitive: PrimitiveName, options: Mapping[str, Any]) -> None:
    """Refuse options that neither this package nor the installed qiskit-ibm-runtime has.

    Only the names are checked, whether or not the primitive or the backend supports them. In a job
    they are not checked, because its client may have a later version.

    Args:
        primitive: The primitive that has the options.
        options: Nested by section, as the user wrote them.

    Raises:
        InvalidInputError: An option is unknown; the message has the close name.
    """
    paths, known = list(_paths(options)), known_options()
    if all(_is_known(path, known) for path in paths):
        return
    known |= seams.option_names()
    for path in paths:
        if not _is_known(path, known):
            raise InvalidInputError(
                f"The {primitive} has no option {path!r}.{close_name(path, sorted(known))}",
                path=f"$.options.{path}",
                rule="options of a primitive",
            )


def _is_known(path: str, known: Iterable[str]) -> bool:
    """Return whether a path leads to an option, to a section of options, or into a free option."""
    is_free = any(path == free or path.startswith(f"{free}.") for free in _FREE)
    return is_free or any(name == path or name.startswith(f"{path}.") for name in known)


def _paths(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the paths of all options and of empty sections."""
    for name, value in options.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and path not in _FREE:
            yield from _paths(value, f"{path}.")
        else:
            yield path


def check_choice(value: Any) -> UnsupportedOptions:
    """Return what to do with unsupported options.

    Raises:
        InvalidInputError: The value is neither "refuse" nor "record".
    """
    if value not in get_args(UnsupportedOptions):
        raise InvalidInputError(
            f"unsupported_options must be 'refuse' or 'record', not {value!r}.",
            path="$.unsupported_options",
            rule="refuse or record",
        )
    return value


def _leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and path not in _WHOLE:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _asks(name: str, value: Any) -> bool:
    """Return whether an option requests more than the normal behaviour of a simulator."""
    if name in _ALWAYS_SO:
        return value is not None and value != _ALWAYS_SO[name]
    return value is not None and value is not False


def require_mapping(value: Any, path: str, *, what: str = "") -> Mapping[str, Any]:
    """Return a mapping, an empty one for None.

    Args:
        value: The given value.
        path: Its path in the inputs.
        what: Its description in the error message; the path if left out.

    Raises:
        InvalidInputError: The value is not a mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(
            f"{what or path} must be an object, not {type(value).__name__}.",
            path=path,
            rule="type: object",
        )
    return value


def read_number(value: Any, name: str, kind: type = Integral, *, at_least: int = 0) -> Any:
    """Return the number given for an option, or None.

    Args:
        value: The given value.
        name: Path of the option.
        kind: `Integral` or `Real`.
        at_least: The smallest allowed number.

    Raises:
        InvalidInputError: The value is not such a number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, kind) or value < at_least:
        words = "a whole number" if kind is Integral else "a number"
        raise InvalidInputError(
            f"Option {name!r} must be {words} of {at_least} or more, not {value!r:.80}.",
            path=f"$.options.{name}",
            rule=f"{name} >= {at_least}",
        )
    return value
