"""The versioned forms in which quantum programs and their results are sent.

The forms are defined in ibm-quantum-schemas, which versions of qiskit-ibm-runtime with `Executor`
install. The result has the version of the program. All differences between versions, and all uses
of that package, are in this module.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from prefect_qiskit_runtime.codec.delays import with_plain_durations, with_restored_delays
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit

_HOME = "ibm_quantum_schemas.executor"
_PREFIX = "version_"


@dataclass(frozen=True)
class ProgramItem:
    """One item of a quantum program.

    Attributes:
        circuit: Its circuit, or the template circuit for the arguments drawn by the samplex.
        arguments: Array of arguments, the last axis over `circuit.parameters`; None with a
            samplex.
        samplex: The samplex that draws the arguments, if any.
        samplex_arguments: The inputs of the samplex.
        shape: The shape to which the item is extended.
        chunk_size: The maximum number of circuits that run at a time; None to choose one.
    """

    circuit: QuantumCircuit
    arguments: NDArray[Any] | None
    samplex: Any
    samplex_arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    chunk_size: int | None


@dataclass(frozen=True)
class ChunkTiming:
    """When the elements `start` to `stop` of the flattened item `index` ran."""

    index: int
    shape: tuple[int, ...]
    start: int
    stop: int
    began_at: datetime
    ended_at: datetime


class ExecutorParams:
    """The inputs of one job, read by the models of their version."""

    def __init__(self, version: str, schema: Any, params: Any) -> None:
        """Create; use `read`."""
        self._version = version
        self._schema = schema
        self._params = params
        self._program = params.quantum_program

    @classmethod
    def read(cls, inputs: Mapping[str, Any]) -> ExecutorParams:
        """Read and check the inputs of a job.

        Raises:
            ConfigurationError: This environment has no models for quantum programs.
            InvalidInputError: It has no models for this version, or the inputs do not match them.
        """
        version = str(inputs.get("schema_version"))
        schema = _find(version)
        try:
            return cls(version, schema, schema.ParamsModel.model_validate(dict(inputs)))
        # The ValidationError of pydantic, which is not imported here.
        except ValueError as exc:
            first = cast(Any, exc).errors(include_url=False, include_input=False)[0]
            path = ".".join(map(str, ("$", *first["loc"])))
            raise InvalidInputError(
                f"The inputs are not a quantum program of version {version}: {first['msg']} at "
                f"{path}.",
                path=path,
                rule=first["type"],
            ) from exc

    @property
    def shots(self) -> int:
        """Shots of each circuit with each set of arguments."""
        return self._program.shots

    @property
    def measurement_level(self) -> str:
        """The requested form of measurement results."""
        return getattr(self._program, "meas_level", "classified")

    @property
    def options(self) -> dict[str, Any]:
        """The options by section.

        In the schema, options of the simulator can appear only among the experimental ones.
        """
        options = self._params.options.model_dump()
        experimental = dict(options.pop("experimental", {}))
        simulator = experimental.pop("simulator", {})
        return {**options, "simulator": simulator, "experimental": experimental}

    def items(self) -> list[ProgramItem]:
        """Decode the items.

        Raises:
            InvalidInputError: An item cannot be read here.
        """
        return [
            _item(circuit, model)
            for circuit, model in zip(self._circuits(), self._program.items, strict=True)
        ]

    def result(
        self,
        arrays: Sequence[Mapping[str, NDArray[Any]]],
        chunks: Sequence[ChunkTiming],
        unsupported: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the result of a job in the form of the version.

        Args:
            arrays: The arrays of each item, by name.
            chunks: When each part ran.
            unsupported: Options that were ignored; they are listed in the metadata.
        """
        models = self._schema.models
        tensor = getattr(models, "CompressedTensorModel", None) or models.TensorModel
        has_item_metadata = hasattr(models, "ItemMetadataModel")
        result = self._schema.QuantumProgramResultModel(
            data=[
                {
                    "results": {name: tensor.from_numpy(array) for name, array in named.items()},
                    "metadata": {} if has_item_metadata else None,
                }
                for named in arrays
            ],
            metadata={"chunk_timing": [_span(chunk) for chunk in chunks]},
            passthrough_data=getattr(self._program, "passthrough_data", None),
            semantic_role=getattr(self._program, "semantic_role", None),
        ).model_dump(mode="json")
        if unsupported:
            # The models of clients ignore unknown fields.
            result["metadata"]["unsupported_options"] = dict(unsupported)
        return result

    def _circuits(self) -> list[QuantumCircuit]:
        try:
            if hasattr(self._program, "circuits"):
                circuits = self._program.circuits.to_python()
            else:
                circuits = [item.circuit.to_quantum_circuit() for item in self._program.items]
            return [with_plain_durations(with_restored_delays(circuit)) for circuit in circuits]
        # Qiskit's readers have no common error class.
        except Exception as exc:
            raise InvalidInputError(
                f"The circuits of the quantum program cannot be read in this environment: {exc} "
                "Use the same Qiskit at both ends, or a newer one here.",
                path="$.quantum_program.circuits",
                rule="circuits that this environment reads",
            ) from exc


def _find(version: str) -> Any:
    """Return the module of a version."""
    try:
        home = importlib.import_module(_HOME)
        importlib.import_module("samplomatic")
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"Quantum programs need {exc.name}, which this environment (image) does not have: "
            "install a qiskit-ibm-runtime in it that has Executor, such as 0.51."
        ) from exc
    known = {
        "v" + name.removeprefix(_PREFIX).replace("_", "."): name
        for _, name, _ in pkgutil.iter_modules(home.__path__)
        if name.startswith(_PREFIX)
    }
    if version not in known:
        raise InvalidInputError(
            f"This environment does not know quantum programs of version {version!r}, only "
            f"{', '.join(sorted(known))}: its ibm-quantum-schemas is older than the client's.",
            path="$.schema_version",
            rule="a known schema_version",
        )
    return importlib.import_module(f"{_HOME}.{known[version]}")


def _item(circuit: QuantumCircuit, model: Any) -> ProgramItem:
    is_samplex = model.item_type == "samplex"
    return ProgramItem(
        circuit=circuit,
        arguments=None if is_samplex else model.circuit_arguments.to_numpy(),
        samplex=model.samplex.to_samplex().finalize() if is_samplex else None,
        samplex_arguments=(
            {name: _argument(value) for name, value in model.samplex_arguments.items()}
            if is_samplex
            else {}
        ),
        shape=tuple(getattr(model, "shape", ())),
        chunk_size=None if model.chunk_size == "auto" else model.chunk_size,
    )


def _argument(value: Any) -> Any:
    for method in ("to_numpy", "to_pauli_lindblad_map"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value


def _span(chunk: ChunkTiming) -> dict[str, Any]:
    part = {
        "idx_item": chunk.index,
        "size": chunk.stop - chunk.start,
        "permutation": list(range(len(chunk.shape))),
        "element_range": (chunk.start, chunk.stop, 1),
    }
    return {"start": chunk.began_at, "stop": chunk.ended_at, "parts": [part]}
