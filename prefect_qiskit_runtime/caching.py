"""Keys and bytes of results that are kept: one recipe for our calls and for users' own tasks.

Prefect's own `INPUTS` gives equal circuits another key each time, and its own serializers pickle
them. `CircuitInputs` and `RuntimeResultSerializer` are for tasks that users write; the package's
own calls keep their results when asked to (`cache=True`, or `cache_results` of the block).
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.serializers import Serializer
from pydantic import BaseModel

from prefect_qiskit_runtime import errors
from prefect_qiskit_runtime.backend import RuntimeBackend, service_identity
from prefect_qiskit_runtime.codec import decode, encode, fingerprint
from prefect_qiskit_runtime.errors import DecodingError, QiskitRuntimeError
from prefect_qiskit_runtime.models import package_version

FORMAT_VERSION = 1
"""Of what the serializer writes. One that this version does not know is refused, not guessed."""


class RuntimeResultSerializer(Serializer):
    """Writes results as versioned JSON, with circuits, arrays and results of primitives in it.

    The text is that of Qiskit Runtime, readable by other versions of Qiskit and Python; nothing is
    pickled. What comes back is what `decode` gives: tuples are lists, keys of dicts are text.

    Example:
        ```python
        from prefect import task
        from prefect_qiskit_runtime import RuntimeResultSerializer

        @task(persist_result=True, result_serializer=RuntimeResultSerializer())
        def transpiled(circuit): ...
        ```
    """

    type: Literal["qiskit-runtime"] = "qiskit-runtime"  # pyright: ignore[reportIncompatibleVariableOverride]

    def dumps(self, obj: Any) -> bytes:
        """Write a value.

        Raises:
            EncodingError: Some part of it has no encoding; `path` says which.
        """
        head = f'"format": {FORMAT_VERSION}, "package": "{package_version()}"'
        if isinstance(obj, BaseException):  # of a task that failed
            return f'{{{head}, "raised": {encode(_told_error(obj))}}}'.encode()
        return f'{{{head}, "value": {encode(obj)}}}'.encode()

    def loads(self, blob: bytes) -> Any:
        """Read a value.

        Raises:
            DecodingError: It is not one, or of a format that this version does not know.
        """
        written = decode(blob)
        found = written.get("format") if isinstance(written, dict) else None
        if found != FORMAT_VERSION:
            raise DecodingError(
                f"Cannot read a stored result: its format is {found!r}, this version of"
                f" prefect-qiskit-runtime ({package_version()}) reads {FORMAT_VERSION}. Read it"
                " with the version that wrote it, or delete it."
            )
        return _error(written["raised"]) if "raised" in written else written["value"]


def _told_error(error: BaseException) -> dict[str, str]:
    kind = type(error)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "message": str(error)}


def _error(told: Mapping[str, str]) -> BaseException:
    """Build an error again, if it is one of Python's or ours; the text imports no class."""
    module, _, name = told["type"].rpartition(".")
    home = {"builtins": builtins, errors.__name__: errors}.get(module)
    kind = getattr(home, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        error = kind.__new__(kind)
        Exception.__init__(error, told["message"])
        return error
    return RuntimeError(f"{told['type']}: {told['message']}")


@dataclass
class CircuitInputs(CachePolicy):
    """Cache policy for tasks of your own that take circuits, operators, arrays or backends.

    The key is made of the task's name and version and of its inputs: equal for equal circuits,
    built twice or in another process. The code of the task does not count; add Prefect's
    `TASK_SOURCE` where it should. An input that is left out with `-` does not count either.

    Example:
        ```python
        from prefect import task
        from prefect_qiskit_runtime import CircuitInputs, RuntimeResultSerializer

        @task(
            cache_policy=CircuitInputs() - "verbose",
            result_serializer=RuntimeResultSerializer(),
            persist_result=True,
        )
        def transpiled(circuit, verbose=False): ...
        ```

    Attributes:
        exclude: Names of inputs that do not count.
    """

    exclude: list[str] = field(default_factory=list)

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect passes it by name
        **kwargs: Any,  # noqa: ARG002 - what later versions of Prefect tell
    ) -> str:
        """Return the key of a task run.

        Raises:
            TypeError: An input has no fingerprint.
        """
        task = task_ctx.task
        counted = {name: value for name, value in inputs.items() if name not in self.exclude}
        told = {name: _told_input(name, value) for name, value in counted.items()}
        return fingerprint({"task": task.name, "version": task.version, "inputs": told})

    def __sub__(self, other: str) -> CircuitInputs:
        """Leave an input out."""
        if not isinstance(other, str):
            raise TypeError(f"CircuitInputs() - takes the name of an input, not {other!r:.80}.")
        return replace(self, exclude=[*self.exclude, other])


def _told_input(name: str, value: Any) -> str:
    try:
        return fingerprint(_plain(value))
    except (TypeError, QiskitRuntimeError) as error:
        raise TypeError(
            f"Input {name!r} has no fingerprint ({error}). If it does not change the result, leave"
            f" it out: cache_policy=CircuitInputs() - {name!r}."
        ) from error


def _plain(value: Any) -> Any:
    """Return what identifies blocks and models, also inside of containers; the rest as it is."""
    if isinstance(value, RuntimeBackend):
        return {"backend": [*service_identity(value), value.name, value.image]}
    if isinstance(value, BaseModel):
        kind = type(value)
        return {f"{kind.__module__}.{kind.__qualname__}": value.model_dump(mode="json")}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
