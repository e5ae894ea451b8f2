"""The cells of the crash matrix, as data: where a process is killed, what fails then, who returns.

A cell is run by `running.py`, and all of them by `matrix.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Moment = Literal["before", "after"]


@dataclass(frozen=True)
class Request:
    """A kind of request, as the fault mode tells it."""

    method: str
    path: str

    @property
    def fields(self) -> dict[str, Any]:
        return {"method": self.method, "path": self.path}


@dataclass(frozen=True)
class Point:
    """Where the first process is killed.

    Attributes:
        name: What it is called.
        request: The request that the service leaves unanswered, while the process is killed.
        moment: Before or after the effect of the request, or the writing of the record.
        note: What the process has noted last, for a point between requests.
        record: How the name of a record begins that it writes.
        fault: What fails before that.
    """

    name: str
    request: Request | None = None
    moment: Moment = "before"
    note: str | None = None
    record: str | None = None
    fault: tuple[Request, dict[str, Any]] | None = None


@dataclass(frozen=True)
class Fault:
    """What goes wrong once with each request of the process that returns.

    Attributes:
        name: What it is called.
        scenario: Of the fault mode; the requests are added to it.
        is_refused: Whether nobody listens for a while, before each request.
        is_late: Whether jobs are found by their tags a while after they were submitted.
    """

    name: str
    scenario: dict[str, Any] = field(default_factory=dict)
    is_refused: bool = False
    is_late: bool = False


@dataclass(frozen=True)
class Way:
    """How the work is taken up again.

    Attributes:
        name: What it is called.
        flow: Which flow does the work.
        is_elsewhere: Whether that is on another machine: what the first has stored is gone.
        by: What starts the processes: the test itself, or a runner that serves deployments or a
            worker of a process pool, as Prefect's server tells them to.
    """

    name: str
    flow: str
    is_elsewhere: bool = False
    by: Literal["process", "runner", "worker"] = "process"


@dataclass(frozen=True)
class Work:
    """What a flow does, with one client, on one kind of service.

    Attributes:
        name: What it is called.
        client: The module of the flows, and the environment that they run in.
        imitate: Whose service is imitated; None for ours.
        requests: Those that a flow makes, in order.
        points: Where it is killed.
        interim: How many interim results its job publishes.
    """

    name: str
    client: Literal["ours", "foreign"]
    imitate: Literal["ibm"] | None
    requests: tuple[Request, ...]
    points: tuple[Point, ...]
    interim: int = 0


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

CURSOR = "pqr-"
INTENT = "intent-pqr-"

CUT_AFTER = {"fault": "cut", "moment": "after_effect"}
LOST_ANSWER = (SUBMISSION, CUT_AFTER)


def both(name: str, request: Request) -> tuple[Point, Point]:
    return (
        Point(f"before {name}", request, "before"),
        Point(f"after {name}", request, "after"),
    )


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
        Point("before the stream", STREAM, "before"),
        Point("at the first interim result", note="interim 0"),
        Point("amid the interim results", note="interim 3"),
        Point("at the last interim result", note="interim 5"),
        *both("the result", RESULT),
        Point("before the record of the callback", record=CURSOR, moment="before"),
        Point("after the record of the callback", record=CURSOR, moment="after"),
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
        Point("before the record of the submission", record=INTENT, moment="before"),
        Point("after the record of the submission", record=INTENT, moment="after"),
        Point("before the search for a lost answer", SEARCH, "before", fault=LOST_ANSWER),
        Point("after the search for a lost answer", SEARCH, "after", fault=LOST_ANSWER),
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

FAULTS = (
    Fault("nothing"),
    Fault("connection refused", is_refused=True),
    Fault("reset before its effect", {"fault": "cut", "moment": "before_effect"}),
    Fault("reset after its effect", CUT_AFTER),
    Fault("no answer and no effect", {"fault": "silence", "moment": "before_effect"}),
    Fault("no answer after its effect", {"fault": "silence", "moment": "after_effect"}),
    Fault("429", {"fault": "refuse", "status": 429, "retry_after_seconds": 1}),
    Fault("500", {"fault": "refuse", "status": 500}),
    Fault("500 after its effect", {"fault": "refuse", "status": 500, "after_effect": True}),
    Fault("503", {"fault": "refuse", "status": 503}),
    Fault("503 after its effect", {"fault": "refuse", "status": 503, "after_effect": True}),
    Fault("504", {"fault": "refuse", "status": 504}),
    Fault("504 after its effect", {"fault": "refuse", "status": 504, "after_effect": True}),
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


def whole(work: Work) -> Iterator[Cell]:
    """Give each point with each fault and each way."""
    for point in work.points:
        for fault in _faults(work):
            for way in WAYS:
                yield Cell(work, point, fault, way)


def pairs(work: Work) -> Iterator[Cell]:
    """Give each point with each fault, in one of the ways; each way meets all points and faults."""
    for row, point in enumerate(work.points):
        for column, fault in enumerate(_faults(work)):
            yield Cell(work, point, fault, WAYS[(row + column) % len(WAYS)])


def deployed(work: Work) -> Iterator[Cell]:
    """Give each point once, with a way of a deployment and another fault each."""
    faults, step = _faults(work), 11
    for row, point in enumerate(work.points):
        yield Cell(
            work, point, faults[row * step % len(faults)], DEPLOYED_WAYS[row % len(DEPLOYED_WAYS)]
        )


def _faults(work: Work) -> tuple[Fault, ...]:
    # Only who searches by tags can meet it.
    return tuple(fault for fault in FAULTS if not fault.is_late or SEARCH in work.requests)
