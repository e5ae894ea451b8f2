"""The scenarios of fault mode, as strictly validated documents.

A test checks the reference documentation against these models.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from prefect_qiskit_runtime.models import JobStatus, ReasonCode
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER

LONGEST_SECONDS = 10 * 365 * 86_400.0

Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Pattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Text in which `*` matches anything but `/`, and `**` matches anything.",
    ),
]
_Delay = Annotated[Seconds, Field(description="Delay after `moment`, by the service's clock.")]
User = Annotated[Text | None, Field(description="Only for this user.")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RequestMatch(_Document):
    """The requests that match; by default, the next request of any kind."""

    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE", "WEBSOCKET"] | None,
        Field(description="Only this method; WEBSOCKET for streams to IBM's older clients."),
    ] = None
    path: Annotated[
        Pattern,
        Field(
            description="The path without the prefixes of IBM's clients, such as `/jobs/*/results`."
        ),
    ] = "**"
    user: User = None
    skip: Annotated[Count, Field(description="Number of matches to let pass first.")] = 0
    times: Annotated[
        Positive | None, Field(description="Number of matches to act on; null for all.")
    ] = 1


class JobMatch(_Document):
    """The jobs that match, among those submitted from now on; by default, the next job."""

    program: Annotated[Pattern, Field(description="Id of the job's program.")] = "**"
    tag: Annotated[Pattern | None, Field(description="One of the job's tags.")] = None
    backend: Annotated[Pattern, Field(description="The job's backend.")] = "**"
    user: User = None
    skip: Annotated[Count, Field(description="Number of matches to let pass first.")] = 0
    times: Annotated[
        Positive | None, Field(description="Number of matches to act on; null for all.")
    ] = 1


class _OfRequests(_Document):
    when: RequestMatch = RequestMatch()


class _OfJobs(_Document):
    when: JobMatch = JobMatch()


class Refuse(_OfRequests):
    """The answer is an error: 429 with Retry-After, any 5xx, or any 4xx with an IBM code."""

    fault: Literal["refuse"]
    status: Annotated[int, Field(ge=400, le=599, description="HTTP status.")] = 503
    after_effect: Annotated[
        bool, Field(description="Whether the request takes effect before it is refused.")
    ] = False
    retry_after_seconds: Annotated[Count | None, Field(description="The header Retry-After.")] = (
        None
    )
    code: Annotated[Count | None, Field(description="Code of the error; default: the status.")] = (
        None
    )
    message: Annotated[Text, Field(description="Message of the error.")] = "Refused by fault mode."
    solution: Annotated[Text | None, Field(description="Advice in the error.")] = None


class Cut(_OfRequests):
    """The connection breaks."""

    fault: Literal["cut"]
    moment: Annotated[
        Literal["before_effect", "after_effect", "half_body"],
        Field(
            description="`before_effect`: reset before the body is read. `after_effect`: reset"
            " instead of the answer. `half_body`: closed after half of the answer's first part."
        ),
    ] = "before_effect"


class Silence(_OfRequests):
    """No answer on a connection that stays open: timeouts, dead websockets and streams."""

    fault: Literal["silence"]
    moment: Annotated[
        Literal["before_effect", "after_effect", "after_headers"],
        Field(
            description="When the silence starts. `after_headers` gives a result stream that sends"
            " nothing. A websocket is always accepted."
        ),
    ] = "before_effect"
    seconds: Annotated[
        Seconds | None,
        Field(description="Duration by the service's clock; null: until it is removed."),
    ] = None


class ExpireTokens(_OfRequests):
    """Every access token that the caller has used so far expires: 401 until a new login.

    The user's token, with which a login obtains access tokens, stays valid.
    """

    fault: Literal["expire_tokens"]


class LateTags(_Document):
    """A job can be found by its tags only some time after its submission."""

    fault: Literal["late_tags"]
    seconds: Annotated[Seconds, Field(description="Delay by the service's clock.")]
    tag: Annotated[Pattern, Field(description="Only searches with one of these tags.")] = "**"
    user: User = None


class UsageLimit(_Document):
    """The instance has used up its time: it reports this and refuses submissions (409, 4317)."""

    fault: Literal["usage_limit"]
    seconds: Annotated[Count, Field(description="The limit, and the time used.")] = 600
    user: User = None


class JobUsage(_Document):
    """Each job that has started reports this QPU time, as do its metrics."""

    fault: Literal["job_usage"]
    seconds: Annotated[Seconds, Field(description="The QPU time.")] = 10.0
    pending: Annotated[
        bool,
        Field(
            description="Whether the time is not final yet: it is 0 with the status `pending` in"
            " IBM's form since 2026-03-15, and missing in others."
        ),
    ] = False
    user: User = None


class BackendOffline(_Document):
    """A backend is offline: it reports this, and jobs submitted to it meanwhile stay queued."""

    fault: Literal["backend_offline"]
    backend: Annotated[Pattern, Field(description="Names of backends.")]


class Recalibration(_Document):
    """A backend has another calibration besides its snapshot's, with different errors.

    Clients request it by its id (`calibration_id`), and jobs may name it; ids without a scenario
    are not found. Results of jobs still have the snapshot's noise.
    """

    fault: Literal["calibration"]
    backend: Annotated[Text, Field(description="Name of the backend.")]
    id: Annotated[Text, Field(description="The calibration's id.")]
    error_factor: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="Factor on the snapshot's gate and measurement errors; an error is at most"
            " one half.",
        ),
    ] = 1.0
    qubits: Annotated[
        list[Count] | None,
        Field(description="Only errors of these qubits and of gates on them; null for all."),
    ] = None
    newest: Annotated[bool, Field(description="Whether it is the default when no id is given.")] = (
        False
    )


class SubmissionLimit(_Document):
    """A user has a limit on submissions within a time: 429, 1202, with Retry-After."""

    fault: Literal["submission_limit"]
    submissions: Annotated[Positive, Field(description="The limit.")] = 5
    seconds: Annotated[Seconds, Field(gt=0, description="The time.")] = 60.0
    user: User = None


class PendingLimit(_Document):
    """A user has a limit on queued and running jobs: 400, 1012."""

    fault: Literal["pending_limit"]
    jobs: Annotated[Count, Field(description="The limit.")] = 3
    user: User = None


class HoldJob(_OfJobs):
    """A job stays queued."""

    fault: Literal["hold_job"]
    seconds: Annotated[
        Seconds | None,
        Field(description="Duration by the service's clock; null: until the scenario is removed."),
    ] = None


class EndJob(_OfJobs):
    """A job ends without a result, with one of IBM's reason codes or ours."""

    fault: Literal["end_job"]
    reason_code: Annotated[Positive, Field(description="The reason code.")]
    status: Annotated[
        Literal[JobStatus.FAILED, JobStatus.CANCELLED] | None,
        Field(description="Default: Cancelled for 1305 (ran too long), otherwise Failed."),
    ] = None
    moment: Annotated[
        Literal["queued", "running"], Field(description="State in which `seconds` starts.")
    ] = "queued"
    seconds: _Delay = 0
    reason: Annotated[Text | None, Field(description="Default: a text for the code.")] = None
    reason_solution: Annotated[Text | None, Field(description="Default: a text for the code.")] = (
        None
    )


class CloseSession(_OfJobs):
    """The session of a job closes: its queued jobs fail, running jobs continue.

    Jobs without a session do not match. Submissions to the closed session are refused (409).
    """

    fault: Literal["close_session"]
    moment: Annotated[
        Literal["queued", "running"],
        Field(
            description="State in which `seconds` starts. `queued`: the job stays queued until"
            " then, and fails with its session."
        ),
    ] = "queued"
    seconds: _Delay = 0
    reason_code: Annotated[Positive, Field(description="Reason code of the jobs that fail.")] = (
        ReasonCode.SESSION_CLOSED
    )


Scenario = Annotated[
    Refuse
    | Cut
    | Silence
    | ExpireTokens
    | LateTags
    | UsageLimit
    | JobUsage
    | BackendOffline
    | Recalibration
    | SubmissionLimit
    | PendingLimit
    | HoldJob
    | EndJob
    | CloseSession,
    Field(discriminator="fault"),
]
RequestFault = Refuse | Cut | Silence | ExpireTokens
SCENARIO: TypeAdapter[Any] = TypeAdapter(Scenario)


def matches(pattern: str, text: str) -> bool:
    """Return whether a text matches a pattern."""
    parts = (
        ".*" if part == "**" else "[^/]*" if part == "*" else re.escape(part)
        for part in re.split(r"(\*\*|\*)", pattern)
    )
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
