"""All errors of the package, one class for each case that callers handle differently.

```
QiskitRuntimeError
├── ConfigurationError        a block, setting or argument is wrong or incomplete: change it
├── InvalidInputError         an input breaks a rule: the error names the path and the rule
│   ├── EncodingError         a value has no encoding (path names it in the inputs)
│   └── DecodingError         received bytes are not in the form that the decoder expects
├── AuthenticationError       the token was refused: log in again
├── AccessDeniedError         the token is valid, but the user may not perform the action
├── NotFoundError             no such program, job, session or backend (for this user); of a job
│                             that was deleted, `kind` is "deleted_job", of one that IBM accepted
│                             and never showed, "unseen_job": neither is submitted again
├── ConflictError             the state or the name of the object forbids the action
│   └── SessionClosedError    the session accepts no more jobs: open another
├── ServiceUnavailableError   no reply, or a temporary fault (transient): retry
│   └── RateLimitedError      too many requests: wait `retry_after_seconds`
├── BudgetExceededError       a limit of QPU time would be exceeded: reduce the job, or raise it
├── SubmissionUnclearError    a job may have been made but is not found: look for its tag
├── FlowRunCancelledError     a flow run around a task in another process was cancelled
├── LoopDivergedError         a loop does not repeat its records: undo the change, or rename it
├── HardwareBudgetError       a program has used up its QPU time
├── ProtocolError             the reply does not follow the protocol: another service or version
├── EmbeddedServiceError      the embedded service could not be started or trusted
└── JobError                  the job ended without a result
    ├── ProgramFailedError    the program raised or exited: its own traceback is in `traceback`
    ├── JobProcessError       its process died (signal, memory limit) or could not start
    ├── JobTimedOutError      it ran longer than max_execution_time
    ├── JobCancelledError     it was cancelled
    ├── JobSessionClosedError its session closed before it could start: submit it to another
    └── JobInterruptedError   the service stopped while it ran (transient): submit it again
```

A message says what was tried, on which object, what came back and what to do. Ids are also
attributes. Messages and attributes never hold tokens, inputs or results.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

__all__ = [
    "AccessDeniedError",
    "AuthenticationError",
    "BudgetExceededError",
    "ConfigurationError",
    "ConflictError",
    "DecodingError",
    "EmbeddedServiceError",
    "EncodingError",
    "FlowRunCancelledError",
    "HardwareBudgetError",
    "InvalidInputError",
    "JobCancelledError",
    "JobError",
    "JobInterruptedError",
    "JobProcessError",
    "JobSessionClosedError",
    "JobTimedOutError",
    "LoopDivergedError",
    "NotFoundError",
    "ProgramFailedError",
    "ProtocolError",
    "QiskitRuntimeError",
    "RateLimitedError",
    "ServiceUnavailableError",
    "SessionClosedError",
    "SubmissionUnclearError",
    "close_name",
    "is_retryable",
]


def _rebuild(cls: type[QiskitRuntimeError], message: str, state: dict[str, Any]) -> Any:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


BudgetScope: TypeAlias = Literal["call", "flow run", "day", "instance"]
"""The jobs that share a limit of QPU time: those of one call (on hardware, of one program), of one
flow run, of one day of the account, or of the instance in its period."""


class QiskitRuntimeError(Exception):
    """Base of all errors of this package.

    Attributes:
        transient: Whether the same request may succeed if it is repeated. This does not apply to
            submissions: the job is searched for, and never submitted blindly again.
        code: The service's number for the error, if it sent one.
        retry_after_seconds: How long the service asks to wait; None if it did not say.
        is_sent: Whether the request may have been sent to the service; False if its login failed
            before that.
    """

    transient: bool = False
    is_sent: bool = True
    code: int | None = None
    retry_after_seconds: float | None = None

    def __reduce__(self) -> Any:
        # Exceptions are unpickled by calling cls(*args), which loses keyword attributes. These
        # errors cross processes (Prefect task runners, results), so their state is included.
        return _rebuild, (type(self), str(self), self.__dict__)


class ConfigurationError(QiskitRuntimeError):
    """A block, setting or argument is wrong or incomplete."""


class InvalidInputError(QiskitRuntimeError):
    """An input breaks a rule.

    Attributes:
        path: Path of the input, such as `$.hamiltonian.paulis[3]`; None if there is no single one.
        rule: The broken rule, in words; None if the message is sufficient.
    """

    def __init__(self, message: str, *, path: str | None = None, rule: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.rule = rule


class EncodingError(InvalidInputError):
    """A value of the inputs, of an interim result or of a result cannot be encoded."""


class DecodingError(InvalidInputError):
    """Received bytes are not in the form that the decoder expects."""


class AuthenticationError(QiskitRuntimeError):
    """The service refused the token."""


class AccessDeniedError(QiskitRuntimeError):
    """The user is known but may not perform the action."""


DELETED_JOB = "deleted_job"
"""`NotFoundError.kind` of a job that existed and was deleted."""


UNSEEN_JOB = "unseen_job"
"""`NotFoundError.kind` of a job that the service accepted and has not shown since."""


class NotFoundError(QiskitRuntimeError):
    """The object does not exist for this user.

    Attributes:
        kind: Kind of the object: "program", "job", "deleted_job", "unseen_job", "session",
            "backend", "image", "result" or "page".
        identifier: The id or name in the request.
    """

    def __init__(self, message: str, *, kind: str = "page", identifier: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.identifier = identifier


class ConflictError(QiskitRuntimeError):
    """The state or the name of the object forbids the action."""


class SessionClosedError(ConflictError):
    """The session is closed or accepts no more jobs. The job was not made.

    Attributes:
        session_id: The session; None if the service did not name it.
    """

    kind = "session"

    def __init__(self, message: str, *, session_id: str | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id

    @property
    def identifier(self) -> str | None:
        """The session's id under its name in the protocol, as in `NotFoundError`."""
        return self.session_id


class FlowRunCancelledError(QiskitRuntimeError):
    """A flow run around a task was cancelled, so its jobs are cancelled and none is submitted.

    Only tasks in other processes than that of their flow raise it. Elsewhere, Prefect's `Abort`
    ends the run.
    """


class LoopDivergedError(QiskitRuntimeError):
    """A loop that runs again differs from its records. Nothing was submitted.

    Attributes:
        index: Number of the step; None if the error concerns the whole loop.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class ServiceUnavailableError(QiskitRuntimeError):
    """There was no reply, or the service has a temporary fault. A retry may succeed."""

    transient = True


class RateLimitedError(ServiceUnavailableError):
    """The service received too many requests and asks for fewer."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BudgetExceededError(QiskitRuntimeError):
    """A job would exceed a limit of QPU time. It was not sent.

    Attributes:
        scope: Scope of the limit: "call", "flow run", "day" or "instance".
        limit_seconds: The limit.
        used_seconds: The time already used.
        estimated_seconds: The estimated time of the job.
        backend: The backend that the job was for; None if not known.
        is_usage_known: Whether the service has reported the used time; if not, the limit is assumed
            to be used up.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: BudgetScope = "call",
        limit_seconds: float = 0.0,
        used_seconds: float = 0.0,
        estimated_seconds: float = 0.0,
        backend: str | None = None,
        is_usage_known: bool = True,
    ) -> None:
        super().__init__(message)
        self.scope: BudgetScope = scope
        self.limit_seconds = limit_seconds
        self.used_seconds = used_seconds
        self.estimated_seconds = estimated_seconds
        self.backend = backend
        self.is_usage_known = is_usage_known


class SubmissionUnclearError(QiskitRuntimeError):
    """A request that may have made a job received no reply, and the job is not found.

    Attributes:
        tag: The tag of the job, if the job exists.
    """

    def __init__(self, message: str, *, tag: str | None = None) -> None:
        super().__init__(message)
        self.tag = tag


class HardwareBudgetError(QiskitRuntimeError):
    """A program has used up the time on quantum hardware that its job was granted.

    Attributes:
        scope: Scope of the limit: "call" (this program), "flow run", "day" or "instance"; None if
            the program itself raised the error without one.
        limit_seconds: The limit.
        used_seconds: The time used in that scope; None if the service does not report it.
        backend: The device.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: BudgetScope | None = None,
        limit_seconds: float | None = None,
        used_seconds: float | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(message)
        self.scope: BudgetScope | None = scope
        self.limit_seconds = limit_seconds
        self.used_seconds = used_seconds
        self.backend = backend


class ProtocolError(QiskitRuntimeError):
    """The reply does not follow the protocol: it is another service, or another version."""


class EmbeddedServiceError(QiskitRuntimeError):
    """The embedded service could not be started, or another process listens on its address."""


class JobError(QiskitRuntimeError):
    """A job ended without a result.

    Attributes:
        job_id: The job.
        program_id: The program that it ran.
        backend: The backend that it ran on.
        session_id: The session that it belonged to, if any.
        scope: Scope of the limit of QPU time that ended its program (see `HardwareBudgetError`);
            None if no such limit did, or the service does not report it.
        limit_seconds: The limit that ended it: of QPU time, or its max_execution_time.
        used_seconds: The time that had been used under that limit; None if not known.
        reason: The service's reason for the end, in words.
        reason_code: The service's number for the reason (see the table of reason codes in the
            docs).
        traceback: The program's own traceback, if it raised an error.
        log_tail: The last lines of the job's log, if they help.
    """

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        program_id: str | None = None,
        backend: str | None = None,
        session_id: str | None = None,
        scope: BudgetScope | None = None,
        limit_seconds: float | None = None,
        used_seconds: float | None = None,
        reason: str | None = None,
        reason_code: int | None = None,
        traceback: str | None = None,
        log_tail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.program_id = program_id
        self.backend = backend
        self.session_id = session_id
        self.scope: BudgetScope | None = scope
        self.limit_seconds = limit_seconds
        self.used_seconds = used_seconds
        self.reason = reason
        self.reason_code = reason_code
        self.traceback = traceback
        self.log_tail = log_tail


class ProgramFailedError(JobError):
    """The program raised an error, or exited without a result."""


class JobProcessError(JobError):
    """The job's process was killed by a signal or a limit, or could not start."""


class JobTimedOutError(JobError):
    """The job ran longer than its max_execution_time and was ended."""


class JobCancelledError(JobError):
    """The job was cancelled."""


class JobSessionClosedError(JobError):
    """The session of the job reached its max time before the job had started. It never ran."""


class JobInterruptedError(JobError):
    """The service stopped while the job ran; a started job is not run again automatically."""

    transient = True


def close_name(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for a misspelt name; empty if no known name is close."""
    names = list(known)
    # Without its section, or not to its end, or with other letters.
    close = (
        [each for each in names if each.rpartition(".")[2] == name]
        or [each for each in names if each.startswith(name)]
        or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    )
    return f" Did you mean {close[0]!r}?" if close else ""


def to_fields(error: QiskitRuntimeError) -> dict[str, Any]:
    """Return an error as a JSON object, for another process: its class, message, attributes."""
    public = next(kind for kind in type(error).__mro__ if kind.__module__ == __name__)
    state = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | int | float) or name == "__notes__"
    }
    return {"type": public.__name__, "message": str(error), "state": state}


def from_fields(fields: dict[str, Any]) -> QiskitRuntimeError:
    """Return the error that `to_fields` described, with its attributes."""
    kind = globals().get(fields["type"])
    if not (isinstance(kind, type) and issubclass(kind, QiskitRuntimeError)):
        kind = QiskitRuntimeError
    return _rebuild(kind, fields["message"], fields["state"])


def is_retryable(error: BaseException) -> bool:
    """Return whether a retry may succeed: the only place that reads `transient`."""
    return isinstance(error, QiskitRuntimeError) and error.transient
