"""The cells of the crash matrix, as data: where a process is killed, what fails, who returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple


class Request(NamedTuple):
    """A kind of request, as the fault mode selects it."""

    method: str
    path: str


@dataclass(frozen=True)
class Point:
    """Where the first process is killed."""

    name: str
    request: Request | None = None  # left unanswered while the process is killed
    moment: str = "before"  # or after: the effect of the request, or the writing of the record
    note: str | None = None  # last note of the process, for a point between requests
    record: str | None = None  # beginning of the name of a record that the process writes
    fault: tuple[Request, dict[str, Any]] | None = None  # fails before that, in this scenario


@dataclass(frozen=True)
class Fault:
    """Failure, once, of each request of the process that returns."""

    name: str
    scenario: dict[str, Any] = field(default_factory=dict)  # of the fault mode, without requests
    is_refused: bool = False  # connections, for a while before each request
    is_late: bool = False  # jobs are found by their tags a while after they were submitted


@dataclass(frozen=True)
class Way:
    """How the work is resumed."""

    name: str
    flow: str
    is_elsewhere: bool = False  # on another machine, without the records of the first
    by: str = "process"  # or by a "runner" that serves deployments, or a "worker" of a process pool


@dataclass(frozen=True)
class Work:
    """The work of a flow, with one client, on one kind of service."""

    name: str
    client: str  # the module of the flows; "foreign" has another environment
    imitate: Literal["ibm"] | None
    requests: tuple[Request, ...]  # of the flow, in order
    points: tuple[Point, ...]
    interim: int = 0  # interim results that its job publishes


@dataclass(frozen=True)
class Cell:
    """One experiment."""

    work: Work
    point: Point
    fault: Fault
    way: Way

    def __str__(self) -> str:
        return f"{self.work.name}: {self.point.name}, {self.fault.name}, {self.way.name}"


LOGIN = Request("POST", "/identity/token")
INSTANCES = Request("POST", "/v3/resources/search")
BACKENDS = Request("GET", "/backends")
AVAILABILITY = Request("GET", "/backends/*/status")
OPENING = Request("POST", "/sessions")
SUBMISSION = Request("POST", "/jobs")
SEARCH = Request("GET", "/jobs")
STREAM = Request("GET", "/jobs/*/stream")
POLL = Request("GET", "/jobs/*")
RESULT = Request("GET", "/jobs/*/results")
METRICS = Request("GET", "/jobs/*/metrics")
CLOSING = Request("PATCH", "/sessions/*")

CUT_AFTER = {"fault": "cut", "moment": "after_effect"}


def both(name: str, request: Request | None = None, **others: Any) -> list[Point]:
    return [Point(f"{when} {name}", request, when, **others) for when in ("before", "after")]


SHARED = (
    *both("the login", LOGIN),
    *both("the submission", SUBMISSION),
    *both("the first question for the job", POLL),
    *both("the result", RESULT),
)

PROGRAM = Work(
    "a program on a team's service",
    "ours",
    None,
    (OPENING, SUBMISSION, STREAM, RESULT, CLOSING),
    (
        *both("the session opens", OPENING),
        *both("the submission", SUBMISSION),
        Point("before the stream", STREAM),
        Point("at the first interim result", note="interim 0"),
        Point("amid the interim results", note="interim 3"),
        Point("at the last interim result", note="interim 5"),
        *both("the result", RESULT),
        *both("the record of the callback", record="pqr-"),
        *both("the session closes", CLOSING),
    ),
    interim=6,
)

SAMPLER = Work(
    "a sampler on the simulated IBM",
    "ours",
    "ibm",
    (LOGIN, INSTANCES, SUBMISSION, SEARCH, POLL, RESULT),
    (
        *SHARED,
        *both("the search for the instance", INSTANCES),
        *both("the record of the submission", record="intent-pqr-"),
        *both("the search for a lost answer", SEARCH, fault=(SUBMISSION, CUT_AFTER)),
    ),
)

FOREIGN = Work(
    "prefect-qiskit 0.2.1 on the simulated IBM",
    "foreign",
    "ibm",
    (LOGIN, BACKENDS, AVAILABILITY, SUBMISSION, POLL, RESULT, METRICS),
    (
        *SHARED,
        *both("the list of backends", BACKENDS),
        *both("the state of the backend", AVAILABILITY),
        *both("the metrics", METRICS),
    ),
)

WORKS = (PROGRAM, SAMPLER, FOREIGN)


def refused(status: int, **others: Any) -> dict[str, Any]:
    return {"fault": "refuse", "status": status, **others}


FAULTS = (
    Fault("nothing"),
    Fault("connection refused", is_refused=True),
    Fault("reset before its effect", {"fault": "cut", "moment": "before_effect"}),
    Fault("reset after its effect", CUT_AFTER),
    Fault("no answer and no effect", {"fault": "silence", "moment": "before_effect"}),
    Fault("no answer after its effect", {"fault": "silence", "moment": "after_effect"}),
    Fault("429", refused(429, retry_after_seconds=1)),
    Fault("500", refused(500)),
    Fault("500 after its effect", refused(500, after_effect=True)),
    Fault("503", refused(503)),
    Fault("503 after its effect", refused(503, after_effect=True)),
    Fault("504", refused(504)),
    Fault("504 after its effect", refused(504, after_effect=True)),
    Fault("half of the answer", {"fault": "cut", "moment": "half_body"}),
    Fault("found by its tag late", is_late=True),
)

WAYS = (
    Way("flow-run retry", "evaluating"),
    Way("task retry", "in_a_task"),
    Way("new worker", "evaluating", is_elsewhere=True),
    Way("subflow of a rerun parent", "parent"),
)

DEPLOYED_WAYS = (
    Way("retry of a served deployment", "evaluating", by="runner"),
    Way("another runner that serves it", "evaluating", is_elsewhere=True, by="runner"),
    Way("retry of a served parent with a subflow", "parent", by="runner"),
    Way("retry by a process worker", "evaluating", by="worker"),
    Way("another process worker", "evaluating", is_elsewhere=True, by="worker"),
)


def faults_of(work: Work) -> list[Fault]:
    # Only a client that searches by tags can meet a late tag.
    return [fault for fault in FAULTS if not fault.is_late or SEARCH in work.requests]


def whole(work: Work) -> Iterator[Cell]:
    """Give each point with each fault and each way."""
    for point in work.points:
        for fault in faults_of(work):
            yield from (Cell(work, point, fault, way) for way in WAYS)


def pairs(work: Work) -> Iterator[Cell]:
    """Give each point with each fault, in one of the ways; each way meets all points and faults."""
    for row, point in enumerate(work.points):
        for column, fault in enumerate(faults_of(work)):
            yield Cell(work, point, fault, WAYS[(row + column) % len(WAYS)])


def deployed(work: Work) -> Iterator[Cell]:
    """Give each point once, with a way of a deployment and another fault each."""
    faults = faults_of(work)
    for row, point in enumerate(work.points):
        way = DEPLOYED_WAYS[row % len(DEPLOYED_WAYS)]
        yield Cell(work, point, faults[11 * row % len(faults)], way)
