"""Keys and encoding of cached results, for users' own tasks and for the package's calls.

Prefect's own `INPUTS` gives equal circuits a different key each time, and its serializers pickle
them. `CircuitInputs` and `RuntimeResultSerializer` are for tasks that users write. The package's
own calls keep their results on request (`cache=True`, or `cache_results` of the block).
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
"""Version of the serializer's format. An unknown version is refused."""


class RuntimeResultSerializer(Serializer):
    """Writes results as versioned JSON that can contain circuits, arrays and primitive results.

    The JSON is in the format of Qiskit Runtime, readable by other versions of Qiskit and Python;
    nothing is pickled. Values are read with `decode`: tuples become lists, keys of dicts become
    text.

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
            EncodingError: Part of the value has no encoding; `path` names it.
        """
        head = f'"format": {FORMAT_VERSION}, "package": "{package_version()}"'
        if isinstance(obj, BaseException):  # from a task that failed
            return f'{{{head}, "raised": {encode(_error_fields(obj))}}}'.encode()
        return f'{{{head}, "value": {encode(obj)}}}'.encode()

    def loads(self, blob: bytes) -> Any:
        """Read a value.

        Raises:
            DecodingError: The bytes are not a stored value, or their format is unknown.
        """
        written = decode(blob)
        found = written.get("format") if isinstance(written, dict) else None
        if found != FORMAT_VERSION:
            raise DecodingError(
                f"Cannot read a stored result: its format is {found!r}, but this version of"
                f" prefect-qiskit-runtime ({package_version()}) reads {FORMAT_VERSION}. Read it"
                " with the version that wrote it, or delete it."
            )
        return _error(written["raised"]) if "raised" in written else written["value"]


def _error_fields(error: BaseException) -> dict[str, str]:
    kind = type(error)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "message": str(error)}


def _error(fields: Mapping[str, str]) -> BaseException:
    """Rebuild an error of Python or of this package; no class is imported by name."""
    module, _, name = fields["type"].rpartition(".")
    home = {"builtins": builtins, errors.__name__: errors}.get(module)
    kind = getattr(home, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        error = kind.__new__(kind)
        Exception.__init__(error, fields["message"])
        return error
    return RuntimeError(f"{fields['type']}: {fields['message']}")


@dataclass
class CircuitInputs(CachePolicy):
    """Cache policy for your own tasks that take circuits, operators, arrays or backends.

    The key consists of the task's name and version and of its inputs. Equal circuits have equal
    keys, even if they are built twice or in another process. The code of the task is not part of
    the key; add Prefect's `TASK_SOURCE` to include it. Inputs can be excluded with `-`.

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
        exclude: Names of inputs that are not part of the key.
    """

    exclude: list[str] = field(default_factory=list)

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect passes it by name
        **kwargs: Any,  # noqa: ARG002 - for arguments of later versions of Prefect
    ) -> str:
        """Return the key of a task run.

        Raises:
            TypeError: An input has no fingerprint.
        """
        task = task_ctx.task
        prints = {
            name: _input_fingerprint(name, value)
            for name, value in inputs.items()
            if name not in self.exclude
        }
        return fingerprint({"task": task.name, "version": task.version, "inputs": prints})

    def __sub__(self, other: str) -> CircuitInputs:
        """Exclude an input."""
        if not isinstance(other, str):
            raise TypeError(f"CircuitInputs() - takes the name of an input, not {other!r:.80}.")
        return replace(self, exclude=[*self.exclude, other])


def _input_fingerprint(name: str, value: Any) -> str:
    try:
        return fingerprint(_plain(value))
    except (TypeError, QiskitRuntimeError) as error:
        raise TypeError(
            f"Input {name!r} has no fingerprint ({error}). If it does not affect the result,"
            f" exclude it: cache_policy=CircuitInputs() - {name!r}."
        ) from error


def _plain(value: Any) -> Any:
    """Replace blocks and models by their identity, even inside containers; keep other values."""
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
