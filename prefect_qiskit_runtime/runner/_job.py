"""Runs one program in this process and reports how it ended. The process then exits."""

from __future__ import annotations

import asyncio
import importlib.machinery
import inspect
import json
import linecache
import logging
import os
import sys
import time
import types
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from prefect_qiskit_runtime import codec, program
from prefect_qiskit_runtime.errors import EncodingError
from prefect_qiskit_runtime.program.simulation import SimulationSettings
from prefect_qiskit_runtime.runner import _failure, _process
from prefect_qiskit_runtime.runner._control import JobPipes
from prefect_qiskit_runtime.runner._failure import JobFailure, ReasonCode
from prefect_qiskit_runtime.runner._messages import MessageLimits, MessageWriter

__all__ = ["run_and_exit"]

_MODULE_NAME = "program"
_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def run_and_exit(scratch: Path, pipes: JobPipes, versions: Mapping[str, str]) -> NoReturn:
    """Become the job whose files are in `scratch`.

    The process ends with the program, without waiting for its threads and exit handlers.
    """
    job: _process.JobSettings = json.loads((scratch / "job.json").read_text("utf-8"))
    _process.enter(scratch, job, pipes.log)
    limits = MessageLimits(
        job["result_bytes"],
        job["interim_bytes"],
        job["interim_total_bytes"],
        job["interim_results"],
    )
    writer = MessageWriter(pipes.messages, limits)
    writer.started(versions)
    begin = time.monotonic()
    program_job = _ProgramJob(scratch, job, writer, pipes.hardware)
    exit_code = _report(program_job, writer)
    writer.usage(
        seconds=time.monotonic() - begin,
        quantum_seconds=0.0,
        simulation_methods=program_job.simulation_methods,
    )
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)


def _report(job: _ProgramJob, writer: MessageWriter) -> int:
    try:
        writer.result(job.run())
    except BaseException as exc:  # noqa: BLE001 - the boundary of the program
        failure = _failure.describe(exc, filename=job.filename)
    else:
        return 0
    writer.error(
        error_type=failure.error_type,
        message=failure.message,
        reason_code=failure.reason_code,
        traceback=failure.traceback_text,
        limit=failure.limit,
    )
    sys.stderr.write(failure.traceback_text or f"{failure.error_type}: {failure.message}\n")
    return failure.exit_code


class _ProgramJob:
    def __init__(
        self,
        scratch: Path,
        settings: _process.JobSettings,
        writer: MessageWriter,
        hardware: int | None,
    ) -> None:
        self.filename = f"{settings['program_id']}.py"
        self._scratch = scratch
        self._settings = settings
        self._writer = writer
        self._hardware = hardware
        self._published_result: str | None = None
        self._program_backend: program.ProgramBackend | None = None

    @property
    def simulation_methods(self) -> list[str]:
        """The methods by which the primitives of the backend have simulated circuits."""
        backend = self._program_backend
        return [] if backend is None else sorted(backend.usage.simulation_methods)

    def run(self) -> str:
        """Run the program and return its encoded result."""
        main = self._load_main()
        inputs = self._prepare("the inputs cannot be decoded", self._read_inputs)
        name = self._settings["backend"]
        backend = self._prepare(f"the backend {name!r} cannot be made", lambda: self._backend(name))
        self._program_backend = backend
        self._check_inputs(main, inputs)
        messenger = program.UserMessenger(self._publish)
        try:
            returned = main(backend, messenger, **inputs)
            if inspect.isawaitable(returned):
                returned = asyncio.run(_wait_for(returned))
        except SystemExit as exc:
            if _failure.exit_code_of(exc) != 0 or self._published_result is None:
                raise
            returned = None
        return self._choose_result(returned)

    def _backend(self, name: str) -> program.ProgramBackend:
        if self._hardware is None:
            backend = program.ProgramBackend.from_name(name)
            settings = SimulationSettings.read(self._settings["simulation"], "$.simulation")
            backend.use_simulation(settings)
            return backend
        from prefect_qiskit_runtime.program.hardware import HardwareBackend

        return HardwareBackend.behind(self._hardware, name)

    def _publish(self, data: str, final: bool) -> None:
        if final:
            self._published_result = data
        else:
            self._writer.interim(data)

    def _choose_result(self, returned: Any) -> str:
        if returned is None:
            return "null" if self._published_result is None else self._published_result
        if self._published_result is not None:
            sys.stderr.write(
                "The program published a final result and also returned a value: the returned "
                "value is the result.\n"
            )
        try:
            return codec.encode(returned)
        except EncodingError as exc:
            raise JobFailure(
                type(exc).__name__,
                f"main returned a value that cannot be sent: {exc}",
                reason_code=ReasonCode.RESULT_NOT_ENCODABLE,
            ) from exc
        except Exception as exc:
            raise _failure.describe(
                exc, filename=self.filename, reason_code=ReasonCode.RESULT_NOT_ENCODABLE
            ) from exc

    def _prepare(self, problem: str, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except Exception as exc:
            raise JobFailure(
                type(exc).__name__,
                f"The program was not started: {problem}: {exc}",
                reason_code=ReasonCode.START_FAILED,
                traceback_text=_failure.format_traceback(exc, self.filename),
            ) from exc

    def _read_inputs(self) -> dict[str, Any]:
        inputs = codec.decode((self._scratch / "inputs.json").read_bytes())
        if not isinstance(inputs, dict):
            raise TypeError(f"they are one JSON object, not {type(inputs).__name__}")
        return inputs

    def _load_main(self) -> Callable[..., Any]:
        path = self._scratch / "program.py"
        source = path.read_text("utf-8")
        lines = source.splitlines(keepends=True)
        # Tracebacks name the program instead of a folder that is later deleted; linecache keeps
        # the lines because the entry has no modification time.
        linecache.cache[self.filename] = (len(source), None, lines, self.filename)
        module = types.ModuleType(_MODULE_NAME)
        loader = importlib.machinery.SourceFileLoader(_MODULE_NAME, str(path))
        module.__spec__ = importlib.machinery.ModuleSpec(_MODULE_NAME, loader, origin=str(path))
        module.__file__ = str(path)
        # Classes of the program can be pickled, even for processes that it starts itself.
        sys.modules[_MODULE_NAME] = module
        exec(compile(source, self.filename, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
        main = getattr(module, "main", None)
        if not callable(main):
            raise JobFailure(
                "AttributeError",
                f"{self.filename} has no function main(backend, user_messenger, **inputs)",
            )
        return main

    def _check_inputs(self, main: Callable[..., Any], inputs: Mapping[str, Any]) -> None:
        try:
            signature = inspect.signature(main)
        except (TypeError, ValueError):
            return  # A callable whose parameters cannot be inspected.
        try:
            signature.bind(None, None, **inputs)
        except TypeError:
            problem = _explain_mismatch(signature, inputs)
            raise JobFailure("TypeError", f"main of {self.filename} {problem}") from None


def _explain_mismatch(signature: inspect.Signature, inputs: Mapping[str, Any]) -> str:
    parameters = list(signature.parameters.values())
    positional = [
        p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD
    ]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in positional):
        return f"must take backend and user_messenger before its inputs; it is main{signature}"
    given = [p.name for p in parameters[:2] if p.name in inputs]
    rest = [p for p in parameters[2:] if p.kind in _KEYWORDS]
    names = {p.name for p in rest}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    missing = [p.name for p in rest if p.default is p.empty and p.name not in inputs]
    unexpected = [n for n in inputs if n not in names and n not in given and not takes_any]
    problems = [
        f"{verb} {', '.join(map(repr, found))}"
        for verb, found in (
            ("lacks the input", missing),
            ("does not take the input", unexpected),
            ("gets from the service, not as an input,", given),
        )
        if found
    ]
    return f"{' and '.join(problems) or 'does not take these inputs'}; it is main{signature}"


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
