"""What can be made to go wrong, as documents that are checked strictly.

The reference in the documentation is checked against these models.
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
        description="Text in which `*` stands for anything but `/`, and `**` for anything.",
    ),
]
_Delay = Annotated[Seconds, Field(description="How long after that, by the service's clock.")]
User = Annotated[Text | None, Field(description="Of this user only.")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RequestMatch(_Document):
    """Which requests: by default the next one, whatever it is."""

    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE", "WEBSOCKET"] | None,
        Field(description="Of this method only; WEBSOCKET for streams to IBM's older clients."),
    ] = None
    path: Annotated[
        Pattern,
        Field(description="Its path, without the prefixes of IBM's clients, as `/jobs/*/results`."),
    ] = "**"
    user: User = None
    skip: Annotated[Count, Field(description="Let this many pass first.")] = 0
    times: Annotated[
        Positive | None, Field(description="How many it concerns; null for all that follow.")
    ] = 1


class JobMatch(_Document):
    """Which jobs, of those submitted from now on: by default the next one."""

    program: Annotated[Pattern, Field(description="Id of its program.")] = "**"
    tag: Annotated[Pattern | None, Field(description="One of its tags.")] = None
    backend: Annotated[Pattern, Field(description="Its backend.")] = "**"
    user: User = None
    skip: Annotated[Count, Field(description="Let this many pass first.")] = 0
    times: Annotated[
        Positive | None, Field(description="How many it concerns; null for all that follow.")
    ] = 1


class _OfRequests(_Document):
    when: RequestMatch = RequestMatch()


class _OfJobs(_Document):
    when: JobMatch = JobMatch()


class Refuse(_OfRequests):
    """An error as the answer: 429 with Retry-After, any 5xx, any 4xx with a code of IBM's."""

    fault: Literal["refuse"]
    status: Annotated[int, Field(ge=400, le=599, description="HTTP status.")] = 503
    after_effect: Annotated[
        bool, Field(description="Whether the request takes its effect before it is refused.")
    ] = False
    retry_after_seconds: Annotated[Count | None, Field(description="The header Retry-After.")] = (
        None
    )
    code: Annotated[
        Count | None, Field(description="Number of the error; default: the status.")
    ] = None
    message: Annotated[Text, Field(description="What the error says.")] = (
        "Refused by the fault mode."
    )
    solution: Annotated[Text | None, Field(description="What the error advises.")] = None


class Cut(_OfRequests):
    """The connection breaks."""

    fault: Literal["cut"]
    moment: Annotated[
        Literal["before_effect", "after_effect", "half_body"],
        Field(
            description="`before_effect`: reset before the body is read. `after_effect`: reset in"
            " place of the answer. `half_body`: closed after half of the answer's first part."
        ),
    ] = "before_effect"


class Silence(_OfRequests):
    """No answer, on a connection that stays open: time-outs, dead websockets and streams."""

    fault: Literal["silence"]
    moment: Annotated[
        Literal["before_effect", "after_effect", "after_headers"],
        Field(
            description="When it falls silent. `after_headers` is a result stream that never says"
            " anything. A websocket is accepted in any case."
        ),
    ] = "before_effect"
    seconds: Annotated[
        Seconds | None,
        Field(description="By the service's clock; then all goes on. null: until it is removed."),
    ] = None


class ExpireTokens(_OfRequests):
    """Every access token that the caller has used so far ends: 401 until a new login.

    A user's own token, from which a login makes access tokens, stays good.
    """

    fault: Literal["expire_tokens"]


class LateTags(_Document):
    """A job is found by its tags only a while after it was submitted."""

    fault: Literal["late_tags"]
    seconds: Annotated[Seconds, Field(description="How long, by the service's clock.")]
    tag: Annotated[Pattern, Field(description="Searches with one of these tags only.")] = "**"
    user: User = None


class UsageLimit(_Document):
    """The instance has used up its time: it says so, and submissions are refused (409, 4317)."""

    fault: Literal["usage_limit"]
    seconds: Annotated[Count, Field(description="The limit, and the use.")] = 600
    user: User = None


class JobUsage(_Document):
    """Each job that has started has used that much time on a QPU, as it and its metrics say."""

    fault: Literal["job_usage"]
    seconds: Annotated[Seconds, Field(description="How much.")] = 10.0
    user: User = None


class BackendOffline(_Document):
    """A backend is offline: it says so, and jobs sent to it meanwhile stay queued."""

    fault: Literal["backend_offline"]
    backend: Annotated[Pattern, Field(description="Names of backends.")]


class Recalibration(_Document):
    """A backend has a calibration beside that of its snapshot, with other errors.

    It is asked for by its id (`calibration_id`), and jobs may name it; ids that no scenario has are
    not found. Results of jobs have the noise of the snapshot all the same.
    """

    fault: Literal["calibration"]
    backend: Annotated[Text, Field(description="Name of the backend.")]
    id: Annotated[Text, Field(description="Its id.")]
    error_factor: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="Errors of gates and measurements are so many times those of the snapshot,"
            " at most a half.",
        ),
    ] = 1.0
    qubits: Annotated[
        list[Count] | None,
        Field(description="Those of these qubits, and of gates on them, only; null for all."),
    ] = None
    newest: Annotated[
        bool, Field(description="Whether it is the one that is meant where no id is given.")
    ] = False


class SubmissionLimit(_Document):
    """At most so many submissions of a user in a time: 429, 1202, with Retry-After."""

    fault: Literal["submission_limit"]
    submissions: Annotated[Positive, Field(description="How many.")] = 5
    seconds: Annotated[Seconds, Field(gt=0, description="In how long.")] = 60.0
    user: User = None


class PendingLimit(_Document):
    """At most so many jobs of a user queued or running: 400, 1012."""

    fault: Literal["pending_limit"]
    jobs: Annotated[Count, Field(description="How many.")] = 3
    user: User = None


class HoldJob(_OfJobs):
    """A job stays queued."""

    fault: Literal["hold_job"]
    seconds: Annotated[
        Seconds | None,
        Field(description="By the service's clock. null: until the scenario is removed."),
    ] = None


class EndJob(_OfJobs):
    """A job ends without a result, with one of IBM's reason codes or ours."""

    fault: Literal["end_job"]
    reason_code: Annotated[Positive, Field(description="Why it ended.")]
    status: Annotated[
        Literal[JobStatus.FAILED, JobStatus.CANCELLED] | None,
        Field(description="How. Default: Cancelled with 1305, which ran too long; else Failed."),
    ] = None
    moment: Annotated[
        Literal["queued", "running"], Field(description="Where the time below begins.")
    ] = "queued"
    seconds: _Delay = 0
    reason: Annotated[Text | None, Field(description="Default: fits the code.")] = None
    reason_solution: Annotated[Text | None, Field(description="Default: fits the code.")] = None


class CloseSession(_OfJobs):
    """The session of a job closes: what waits in it fails, what runs goes on, no more is taken.

    Jobs without a session do not count. Submissions to a closed session are refused (409).
    """

    fault: Literal["close_session"]
    moment: Annotated[
        Literal["queued", "running"],
        Field(
            description="Where the time below begins. `queued`: the job waits until then, and"
            " fails with its session."
        ),
    ] = "queued"
    seconds: _Delay = 0
    reason_code: Annotated[Positive, Field(description="Of the jobs that fail.")] = (
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
    """Say whether a text fits a pattern."""
    parts = (
        ".*" if part == "**" else "[^/]*" if part == "*" else re.escape(part)
        for part in re.split(r"(\*\*|\*)", pattern)
    )
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
