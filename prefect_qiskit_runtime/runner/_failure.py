"""Describes the failure of a program without a result: type, message, code, traceback."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from prefect_qiskit_runtime.errors import BudgetScope, HardwareBudgetError
from prefect_qiskit_runtime.runner import _process
from prefect_qiskit_runtime.runner._messages import MessageLimitError

__all__ = ["JobFailure", "ReasonCode", "describe", "format_traceback"]

_RUNNER_FOLDER = str(Path(__file__).resolve().parent)
_MESSAGE_CHARACTERS = 8 * 1024
_TRACEBACK_CHARACTERS = 256 * 1024


class ReasonCode:
    """The numbers of `models.ReasonCode` that a job can report itself.

    They are copied because images may lack pydantic, which `models` needs. A test compares the two.
    """

    PROGRAM_RAISED = 90001
    PROGRAM_EXITED = 90002
    MEMORY_LIMIT = 90004
    START_FAILED = 90005
    RESULT_NOT_ENCODABLE = 90006
    HARDWARE_BUDGET = 90009
    MESSAGE_LIMIT = 90010


class JobFailure(Exception):  # noqa: N818 - an end to report, not an error of the runner
    """The job ended without a result; the message is written for its user.

    Attributes:
        limit: The limit of QPU time that ended it, as `models.UsedUpLimit`; None if none did.
    """

    def __init__(
        self,
        error_type: str,
        message: str,
        *,
        reason_code: int = ReasonCode.PROGRAM_RAISED,
        traceback_text: str = "",
        exit_code: int = 1,
        limit: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = _shorten(message, _MESSAGE_CHARACTERS)
        self.reason_code = reason_code
        self.traceback_text = _shorten(traceback_text, _TRACEBACK_CHARACTERS)
        self.exit_code = exit_code
        self.limit = limit


def describe(
    exc: BaseException, *, filename: str, reason_code: int = ReasonCode.PROGRAM_RAISED
) -> JobFailure:
    """Describe an exception for the user of the program in `filename`."""
    if isinstance(exc, JobFailure):
        return exc
    exit_code = 1
    message = _text_of(exc)
    if isinstance(exc, MemoryError):
        _process.lift_memory_limit()
        reason_code = ReasonCode.MEMORY_LIMIT
        message = f"the program needed more memory than it may use. {message}".strip()
    elif isinstance(exc, SystemExit):
        reason_code = ReasonCode.PROGRAM_EXITED
        exit_code = exit_code_of(exc)
        message = f"the program called sys.exit({exc.code!r}) before its main returned"
    elif isinstance(exc, HardwareBudgetError):
        reason_code = ReasonCode.HARDWARE_BUDGET
    elif isinstance(exc, MessageLimitError):
        reason_code = ReasonCode.MESSAGE_LIMIT
    elif isinstance(exc, ModuleNotFoundError):
        message = (
            f"{message}. The job ran in {sys.executable}: install the module there, or submit "
            "the job with an image that has it. A program is one file: modules in the same folder "
            "are not uploaded."
        )
    return JobFailure(
        type(exc).__name__,
        message,
        reason_code=reason_code,
        traceback_text=format_traceback(exc, filename),
        exit_code=exit_code,
        limit=_used_up_limit(exc),
    )


def _used_up_limit(exc: BaseException) -> dict[str, Any] | None:
    """Return the limit that an error names, if any: programs may raise it with other values."""
    if not isinstance(exc, HardwareBudgetError):
        return None
    limit: dict[str, Any] = {"scope": getattr(exc, "scope", None)}
    for name in ("limit_seconds", "used_seconds"):
        value = getattr(exc, name, None)
        if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
            limit[name] = float(value)
    is_named = limit["scope"] in get_args(BudgetScope) and "limit_seconds" in limit
    return limit if is_named else None


def exit_code_of(exc: SystemExit) -> int:
    """Return the exit code that Python would end with."""
    if exc.code is None:
        return 0
    return exc.code & 0xFF if isinstance(exc.code, int) else 1


def format_traceback(exc: BaseException, filename: str) -> str:
    """Format an exception and its causes, starting from the program's first frame."""
    formatted = traceback.TracebackException.from_exception(exc, compact=True)
    for part in _parts(formatted):
        frames = [frame.filename for frame in part.stack]
        if filename in frames:
            del part.stack[: frames.index(filename)]
        else:
            part.stack[:] = [
                frame for frame in part.stack if not frame.filename.startswith(_RUNNER_FOLDER)
            ]
    return "".join(formatted.format())


def _parts(
    formatted: traceback.TracebackException | None,
) -> Iterator[traceback.TracebackException]:
    if formatted is None:
        return
    yield formatted
    yield from _parts(formatted.__cause__)
    yield from _parts(formatted.__context__)
    for member in getattr(formatted, "exceptions", None) or ():
        yield from _parts(member)


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as broken:  # noqa: BLE001 - the program may define `__str__`
        return f"(its message cannot be shown: __str__ raised {type(broken).__name__})"


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
