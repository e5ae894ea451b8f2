"""Checks of texts from users: large JSON, sources, JSON schemas, and inputs against a schema.

Each can take very long or use very much memory: a schema may contain any regular expression,
and parsing a source needs a thousand times its size. So they run in children of this process, each
with limits of time and memory that the kernel enforces. `checker` is the service's side.

The process is started once and imports everything; it never reads a request itself. It keeps one
child that waits for the next check, so that a check does not wait for a fork. Each request arrives
in a separate socket.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.models import check_inputs, compile_schema
from prefect_qiskit_runtime.service.json_text import find_values

__all__ = [
    "FAULT",
    "LIMITS",
    "OUT_OF_MEMORY",
    "VALUES",
    "WAIT_FACTOR",
    "check_schema",
    "check_source",
    "serve",
]

LIMITS = struct.Struct("!dQ")
"""The head of a check, sent with its socket: seconds of computing time, and bytes of memory."""

WAIT_FACTOR = 10
"""A check that gets too little of the processor ends after this many times its computing time."""

FAULT = "fault"
OUT_OF_MEMORY = "memory"
VALUES = "values"
"""Keys of an answer: the type of an error that no check expects; too little memory; where each
value of an object begins and ends."""

_READ_BYTES = 1024**2
_NICE = 5
_RETRY_SECONDS = 0.05
_TAKEN, _ENDED = b"t", b"e"


def check_source(source: str) -> None:
    """Check that a source is Python with a callable `main`.

    Raises:
        InvalidInputError: The source is invalid; the error names the line of a syntax error.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as exc:
        place = "" if exc.lineno is None else f", line {exc.lineno}"
        raise InvalidInputError(
            f"The program's source is not valid Python: {exc.msg}{place}.",
            path="$.data",
            rule=f"syntax{place}",
        ) from exc
    except (ValueError, RecursionError) as exc:
        message = f"The program's source cannot be parsed: {exc}."
        raise InvalidInputError(message, path="$.data", rule="syntax") from exc
    for statement in _module_level(tree.body):
        if isinstance(statement, ast.AsyncFunctionDef) and statement.name == "main":
            raise InvalidInputError(
                f"`main` (line {statement.lineno}) must be a plain function, not `async`.",
                path="$.data",
                rule="def main(backend, user_messenger, **kwargs)",
            )
        if "main" in _names(statement):
            return
    raise InvalidInputError(
        "The program's source defines no `main(backend, user_messenger, **kwargs)`.",
        path="$.data",
        rule="def main(backend, user_messenger, **kwargs)",
    )


def check_schema(schema: dict[str, Any], path: str) -> None:
    """Check that a program's schema is a valid JSON schema.

    Raises:
        InvalidInputError: The schema is invalid; the error names the place in it.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as exc:
        place = path + exc.json_path.removeprefix("$")
        message = f"{path} is not a valid JSON schema: {exc.message} (at {place})."
        raise InvalidInputError(message, path=place, rule="JSON schema") from exc
    except RecursionError as exc:
        message = f"{path} is nested too deeply to be checked."
        raise InvalidInputError(message, path=path, rule="JSON schema") from exc


def serve(control: socket.socket) -> None:
    """Fork a child for each check, in advance, until the service is gone."""
    _warm_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()  # a check is short, and collecting takes most of the time to build many values
    for ending in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(ending, signal.SIG_DFL)
    while (state := _fork_child(control)) != _ENDED:
        if state != _TAKEN:  # the child was killed while it waited
            time.sleep(_RETRY_SECONDS)


def _fork_child(control: socket.socket) -> bytes:
    """Fork a child and return its report; it is empty if the child died without one."""
    # A new pipe for each child: its end is seen only if no other process can write to it.
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _wait_and_check(control, writing)
    os.close(writing)
    try:
        return os.read(reading, 1)
    finally:
        os.close(reading)


def _warm_up() -> None:
    """Make one check of each kind, so that no child has to load or build what all of them need."""
    sample = {"type": "object", "properties": {"n": {"type": "integer"}}}
    check_schema(sample, "$")
    check_source("def main(backend, user_messenger):\n    pass\n")
    with contextlib.suppress(InvalidInputError):
        check_inputs(compile_schema(sample), {"n": "text"}, "the sample")


def _wait_and_check(control: socket.socket, states: int) -> NoReturn:
    """Wait for a request, report that another child is needed, and answer the request."""
    try:
        used = _memory_in_use()
        head, descriptors, _, _ = socket.recv_fds(control, LIMITS.size, 1)
        with contextlib.suppress(OSError):  # the parent was killed: this check is still made
            os.write(states, _TAKEN if head else _ENDED)
        if head:
            os.close(states)
            control.close()
            seconds, memory_bytes = LIMITS.unpack(head)
            _check(socket.socket(fileno=descriptors[0]), seconds, used + memory_bytes)
    finally:
        os._exit(0)


def _check(request: socket.socket, seconds: float, memory_bytes: int) -> None:
    """Answer one request within its limits. Beyond its time, the kernel ends the process."""
    with request:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds * WAIT_FACTOR)
        os.nice(_NICE)  # other users' requests come first
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        try:
            answer = _answer(request)
        except MemoryError:
            answer = {OUT_OF_MEMORY: True}
        except Exception as exc:  # noqa: BLE001 - the message of the error may contain a value
            answer = {FAULT: type(exc).__name__}
        with contextlib.suppress(OSError):  # the service may have stopped waiting
            request.sendall(json.dumps(answer).encode())


def _memory_in_use() -> int:
    """Return the memory that RLIMIT_DATA counts already. RLIMIT_AS counts too much."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmData"].split()[0]) * 1024


def _answer(request: socket.socket) -> dict[str, Any]:
    body = bytearray()
    while part := request.recv(_READ_BYTES):
        body += part
    line, _, rest = body.partition(b"\n")
    order = json.loads(line)
    try:
        if order["kind"] == "object":
            return {VALUES: find_values(rest)}
        if order["kind"] == "inputs":
            check_inputs(compile_schema(order["schema"]), json.loads(rest), order["program"])
        else:
            _check_program(order, rest)
    except InvalidInputError as exc:
        return {"error": {"message": str(exc), "path": exc.path, "rule": exc.rule}}
    return {}


def _check_program(order: dict[str, Any], source: bytearray) -> None:
    for path, schema in order["schemas"].items():
        check_schema(schema, path)
    if order["has_source"]:
        check_source(source.decode())


def _module_level(statements_: Iterable[ast.stmt]) -> Iterable[ast.stmt]:
    """Yield the statements of a module, including those within `if`, `try` and `with`."""
    for statement in statements_:
        yield statement
        for block in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.With):
                yield from _module_level(getattr(statement, block, ()))
        for handler in getattr(statement, "handlers", ()):
            yield from _module_level(handler.body)


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {node.id for t in targets for node in ast.walk(t) if isinstance(node, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return {name}
        case ast.Import(names=aliases):
            return {alias.asname or alias.name for alias in aliases}
        case ast.ImportFrom(names=aliases):
            # The names that a star import binds are known only at run time.
            return {"main" if a.name == "*" else a.asname or a.name for a in aliases}
    return set()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
