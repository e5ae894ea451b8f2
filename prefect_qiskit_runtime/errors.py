"""Every error of the package, one class per thing a caller does differently.

```
QiskitRuntimeError
├── ConfigurationError        a block, setting or argument is wrong or incomplete: change it
├── InvalidInputError         what was sent breaks a rule: the error names the path and the rule
│   ├── EncodingError         a value has no encoding (path names it in the inputs)
│   └── DecodingError         bytes that came back are not what the decoder expects
├── AuthenticationError       the token was refused: log in again
├── AccessDeniedError         the token is good, the action is not allowed to this user
├── NotFoundError             no such program, job, session or backend (for this user)
├── ConflictError             the object is in a state, or bears a name, that forbids the action
│   └── SessionClosedError    the session takes no more jobs: open another
├── ServiceUnavailableError   no answer, or a passing fault (transient): ask again
│   └── RateLimitedError      asked too often: wait `retry_after_seconds`
├── SubmissionUnclearError    a job may have been made that cannot be found: look for its tag
├── HardwareBudgetError       a program has used the time on a device that it was given
├── ProtocolError             the answer is not one of the protocol: another service or version
├── EmbeddedServiceError      the embedded service could not be started or trusted
└── JobError                  the job ended without a result
    ├── ProgramFailedError    the program raised or exited: its own traceback is in `traceback`
    ├── JobProcessError       its process died (signal, memory limit) or could not start
    ├── JobTimedOutError      it ran longer than max_execution_time
    ├── JobCancelledError     somebody cancelled it
    ├── JobSessionClosedError its session closed before it could start: submit it to another
    └── JobInterruptedError   the service stopped under it (transient): submit it again
```

A message says what was tried, on what, what came back and what to do. Ids are attributes as
well. Messages and attributes never hold tokens, inputs or results.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AccessDeniedError",
    "AuthenticationError",
    "ConfigurationError",
    "ConflictError",
    "DecodingError",
    "EmbeddedServiceError",
    "EncodingError",
    "HardwareBudgetError",
    "InvalidInputError",
    "JobCancelledError",
    "JobError",
    "JobInterruptedError",
    "JobProcessError",
    "JobSessionClosedError",
    "JobTimedOutError",
    "NotFoundError",
    "ProgramFailedError",
    "ProtocolError",
    "QiskitRuntimeError",
    "RateLimitedError",
    "ServiceUnavailableError",
    "SessionClosedError",
    "SubmissionUnclearError",
    "is_retryable",
]


def _rebuild(cls: type[QiskitRuntimeError], message: str, state: dict[str, Any]) -> Any:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class QiskitRuntimeError(Exception):
    """Base of all errors of this package.

    Attributes:
        transient: Whether asking the same question again may well succeed. It says nothing
            about submitting again: a submission is looked up, never repeated blindly.
        code: The service's own number for what went wrong, if it gave one.
        retry_after_seconds: How long the service asks to wait; None if it did not say.
    """

    transient: bool = False
    code: int | None = None
    retry_after_seconds: float | None = None

    def __reduce__(self) -> Any:
        # Exceptions pickle by calling cls(*args), which loses keyword attributes; these
        # errors cross processes (Prefect task runners, results), so state goes along.
        return _rebuild, (type(self), str(self), self.__dict__)


class ConfigurationError(QiskitRuntimeError):
    """A block, setting or argument is wrong or incomplete."""


class InvalidInputError(QiskitRuntimeError):
    """What was sent breaks a rule.

    Attributes:
        path: Where in what was sent, as in `$.hamiltonian.paulis[3]`; None if not of one place.
        rule: The rule that it breaks, in words; None if the message says all.
    """

    def __init__(self, message: str, *, path: str | None = None, rule: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.rule = rule


class EncodingError(InvalidInputError):
    """A value of the inputs, of an interim result or of a result cannot be encoded."""


class DecodingError(InvalidInputError):
    """Bytes that came back are not what the decoder expects."""


class AuthenticationError(QiskitRuntimeError):
    """The service refused the token."""


class AccessDeniedError(QiskitRuntimeError):
    """The user is known, the action is not allowed to them."""


class NotFoundError(QiskitRuntimeError):
    """There is no such object for this user.

    Attributes:
        kind: What was looked for: "program", "job", "session", "backend", "image" or "page".
        identifier: The id or name that was asked for.
    """

    def __init__(self, message: str, *, kind: str = "page", identifier: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.identifier = identifier


class ConflictError(QiskitRuntimeError):
    """The object is in a state, or bears a name, that forbids the action."""


class SessionClosedError(ConflictError):
    """The session is closed, or takes no more jobs. The job was not made.

    Attributes:
        identifier: The session's id.
    """

    kind = "session"

    def __init__(self, message: str, *, identifier: str | None = None) -> None:
        super().__init__(message)
        self.identifier = identifier


class ServiceUnavailableError(QiskitRuntimeError):
    """No answer, or a passing fault of the service. Asking again may succeed."""

    transient = True


class RateLimitedError(ServiceUnavailableError):
    """The service asks to be called less often."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class SubmissionUnclearError(QiskitRuntimeError):
    """A request that may have made a job had no answer, and the job is not found.

    Attributes:
        tag: The label that the job bears, if there is a job.
    """

    def __init__(self, message: str, *, tag: str | None = None) -> None:
        super().__init__(message)
        self.tag = tag


class HardwareBudgetError(QiskitRuntimeError):
    """A program has used up the time on quantum hardware that its job was given."""


class ProtocolError(QiskitRuntimeError):
    """The answer is not one of the protocol: another service, or another version of it."""


class EmbeddedServiceError(QiskitRuntimeError):
    """The embedded service could not be started, or what listens there is not it."""


class JobError(QiskitRuntimeError):
    """A job ended without a result.

    Attributes:
        job_id: The job.
        program_id: The program it ran.
        backend: The backend it ran on.
        reason: What the service says of the end, in words.
        reason_code: The service's number for it (see the docs' table of reason codes).
        traceback: The program's own traceback, where it raised.
        log_tail: The last lines of the job's log, where they help.
    """

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        program_id: str | None = None,
        backend: str | None = None,
        reason: str | None = None,
        reason_code: int | None = None,
        traceback: str | None = None,
        log_tail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.program_id = program_id
        self.backend = backend
        self.reason = reason
        self.reason_code = reason_code
        self.traceback = traceback
        self.log_tail = log_tail


class ProgramFailedError(JobError):
    """The program raised, or exited without a result."""


class JobProcessError(JobError):
    """The job's process died of a signal or a limit, or could not start."""


class JobTimedOutError(JobError):
    """The job ran longer than its max_execution_time and was ended."""


class JobCancelledError(JobError):
    """The job was cancelled."""


class JobSessionClosedError(JobError):
    """The session of the job reached its max time before the job had started. It never ran."""


class JobInterruptedError(JobError):
    """The service stopped while the job ran; a started job is not run twice by itself."""

    transient = True


def is_retryable(error: BaseException) -> bool:
    """Say whether asking again may succeed: the one place that reads `transient`."""
    return isinstance(error, QiskitRuntimeError) and error.transient
