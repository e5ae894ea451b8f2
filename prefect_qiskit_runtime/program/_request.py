"""Steps shared by all primitives: options are checked before a run, and errors name the entry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.sampler_pub import SamplerPub

from prefect_qiskit_runtime.errors import InvalidInputError, QiskitRuntimeError
from prefect_qiskit_runtime.program.constructs import require_real_values
from prefect_qiskit_runtime.program.primitive_options import PrimitiveOptions, check_choice

logger = logging.getLogger("prefect_qiskit_runtime.primitives")


@contextmanager
def naming(path: str, index: int) -> Iterator[None]:
    """Name the entry of a list in any error that it causes.

    Args:
        path: Path of the list in the inputs, such as "$.pubs".
        index: Index of the entry.
    """
    try:
        yield
    except (QiskitRuntimeError, QiskitError, ValueError, TypeError) as exc:
        # QiskitError puts quotation marks around its text.
        text = getattr(exc, "message", None) or str(exc)
        raise InvalidInputError(
            f"{path.rsplit('.', 1)[-1]}[{index}]: {text}",
            path=f"{path}[{index}]",
            rule=getattr(exc, "rule", None),
        ) from exc


def coerced_pub(kind: Any, pub: Any, default: Any = None) -> Any:
    """Return a PUB in the class of Qiskit.

    Args:
        kind: `SamplerPub` or `EstimatorPub`.
        pub: The PUB, in any form.
        default: Shots or precision of a PUB that names none.

    Raises:
        InvalidInputError: A parameter value has an imaginary part.
    """
    position = 1 if kind is SamplerPub else 2
    is_tuple: bool = type(pub) in (tuple, list)
    if is_tuple and len(pub) > position:
        require_real_values(pub[position])
    return kind.coerce(pub, default)


def run_each(run: Callable[..., Any], planned: Sequence[Sequence[Any]]) -> list[Any]:
    """Run the PUBs of one call, and name the PUB in an error if there are several.

    Args:
        run: Runs one PUB.
        planned: The arguments of `run` for each PUB.
    """
    if len(planned) == 1:
        return [run(*planned[0])]
    results = []
    for index, plan in enumerate(planned):
        with naming("$.pubs", index):
            results.append(run(*plan))
    return results


def handle_unsupported(options: PrimitiveOptions, choice: str) -> None:
    """Refuse or log the options that are not supported.

    Args:
        options: The options of the job.
        choice: "refuse" or "record".

    Raises:
        InvalidInputError: They are refused, or `choice` is invalid.
    """
    if check_choice(choice) == "refuse":
        options.require_supported()
    elif options.unsupported:
        logger.warning(
            "Ignored, because simulators do not support them: %s",
            ", ".join(f"{name}={value!r:.80}" for name, value in options.unsupported.items()),
        )
