"""Convert a quantum program and options from the users' forms to the inputs of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.codec import (
    quantum_program_inputs,
    quantum_program_part,
    require_quantum_program,
)
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.program.primitive_options import (
    PrimitiveName,
    UnsupportedOptions,
    read_options,
    require_known_options,
)
from prefect_qiskit_runtime.program.simulation import lay_simulation_over
from prefect_qiskit_runtime.pubs.primitive_inputs import (
    NO_SEED_ON_DEVICES,
    PrimitiveOptionsLike,
    plain_options,
    require_no_simulation,
    split_options,
)


@dataclass(frozen=True)
class ExecutorCall:
    """The arguments of one call of the executor.

    Attributes:
        program: The quantum program, as the user made it.
        options: A mapping in the form of qiskit-ibm-runtime, or its `ExecutorOptions`.
        seed: Makes the results reproducible.
    """

    program: Any
    options: PrimitiveOptionsLike
    seed: int | None
    primitive: ClassVar[PrimitiveName] = "executor"

    def __len__(self) -> int:
        """Return the number of items of the program."""
        return len(require_quantum_program(self.program).items)

    def only(self, part: range) -> ExecutorCall:
        """Return the call with only some of the items."""
        return replace(self, program=quantum_program_part(self.program, part))

    @property
    def asked_seed(self) -> Any:
        """The seed, from any of the places where a call can set it."""
        options = self.primitive_options()
        simulators = [options, options.get("experimental", {})]
        named = [each.get("simulator", {}).get("seed_simulator") for each in simulators]
        return next((seed for seed in (self.seed, *named) if seed is not None), None)

    def inputs_on(self, block: RuntimeBackend) -> dict[str, Any]:
        """Return the inputs of the job as the service of a block takes them."""
        if block.kind.takes_seed:
            self._require_simulable(block)
            return self.inputs(block.unsupported_options, block.named_simulation())
        return self.ibm_inputs()

    def inputs(
        self, unsupported: UnsupportedOptions, simulation: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the inputs of the job: those that IBM's clients send, and our own.

        Args:
            unsupported: Whether options that simulators do not support are refused or recorded.
            simulation: Settings of the simulation that the options override.

        Raises:
            ConfigurationError: This environment does not support quantum programs.
            EncodingError: The program is not a quantum program.
            InvalidInputError: An option is not supported, or a construct of a circuit.
        """
        options = self._known_options()
        experimental = dict(options.pop("experimental", {}))
        given = {**experimental.pop("simulator", {}), **options.pop("simulator", {})}
        simulator = lay_simulation_over(simulation or {}, given)
        if self.seed is not None:
            simulator["seed_simulator"] = self.seed
        asked = {**options, "experimental": experimental, "simulator": simulator}
        read = read_options("executor", asked)
        if unsupported == "refuse":
            read.require_supported()
        if read.noise_model is not None:
            simulator["noise_model"] = _plain_noise_model(read.noise_model)
        inputs = quantum_program_inputs(
            self.program,
            execution=options.get("execution", {}),
            experimental={**experimental, "simulator": simulator},
        )
        return {**inputs, "unsupported_options": unsupported}

    def _require_simulable(self, block: RuntimeBackend) -> None:
        from prefect_qiskit_runtime.program import constructs
        from prefect_qiskit_runtime.program.isa import require_untimed_boxes

        program = require_quantum_program(self.program)
        constructs.require_shots(program.shots)
        for index, item in enumerate(program.items):
            try:
                constructs.require_no_inputs(item.circuit)
                constructs.require_simulable(item.circuit)
                arguments = getattr(item, "circuit_arguments", None)
                if arguments is not None:  # a samplex draws them in the job
                    names = [parameter.name for parameter in item.circuit.parameters]
                    constructs.require_finite_arguments(arguments, names)
                if block.name.startswith(constructs.DEVICE_PREFIX):
                    require_untimed_boxes(item.circuit, block.name)
            except InvalidInputError as exc:
                raise InvalidInputError(
                    f"items[{index}]: {exc}", path=f"$.items[{index}]", rule=exc.rule
                ) from exc

    def ibm_inputs(self) -> dict[str, Any]:
        """Return the inputs of the job as IBM's own client sends them.

        Raises:
            ConfigurationError: The call has a seed, or this environment does not support quantum
                programs.
            EncodingError: The program is not a quantum program.
            InvalidInputError: An option is unknown.
        """
        if self.seed is not None:
            raise ConfigurationError(NO_SEED_ON_DEVICES)
        require_no_simulation(self.primitive_options())
        options = self._known_options()
        return quantum_program_inputs(
            self.program,
            execution=options.get("execution", {}),
            experimental=options.get("experimental", {}),
            is_for_ibm=True,
        )

    def _known_options(self) -> dict[str, Any]:
        options = self.primitive_options()
        require_known_options("executor", options)
        return options

    def primitive_options(self) -> dict[str, Any]:
        """Return the options of the executor, without those of its job."""
        return split_options(plain_options(self.options))[0]


def _plain_noise_model(given: Any) -> dict[str, Any]:
    """Return a noise model, or the dict of one, as plain JSON."""
    from prefect_qiskit_runtime.codec.noise_models import (
        describe_noise_model,
        read_noise_model,
        without_ids,
    )

    model = read_noise_model(given) if isinstance(given, Mapping) else given
    return without_ids(describe_noise_model(model, is_plain=True))
