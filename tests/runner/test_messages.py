"""The written protocol between a job and the service, and both ends of it."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

import prefect_qiskit_runtime
from prefect_qiskit_runtime import models
from prefect_qiskit_runtime.errors import ProtocolError
from prefect_qiskit_runtime.runner._failure import ReasonCode
from prefect_qiskit_runtime.runner._messages import (
    MessageLimitError,
    MessageLimits,
    MessageWriter,
)
from prefect_qiskit_runtime.service.execution.executor import (
    Interim,
    ProgramError,
    Result,
    Started,
    Usage,
)
from prefect_qiskit_runtime.service.execution.job_messages import (
    MessageLimits as ServiceLimits,
    MessageParser,
    MessageTooLargeError,
)

SCHEMA = json.loads(
    Path(prefect_qiskit_runtime.__file__)
    .parent.joinpath("runner", "messages.schema.json")
    .read_text()
)


@pytest.fixture
def written() -> bytes:
    """One message of each type, with text beyond ASCII."""
    reader, writer = os.pipe()
    messages = MessageWriter(writer, MessageLimits(1000, 1000, 1000, 3))
    messages.started({"python": "3.11.7", "qiskit": "2.6.1"})
    messages.interim('{"a": "é\\n"}')
    messages.result("")
    messages.error(
        error_type="ValueError",
        message="größer",
        reason_code=ReasonCode.PROGRAM_RAISED,
        traceback="Traceback\n  …",
    )
    messages.error(
        error_type="HardwareBudgetError",
        message="used up",
        reason_code=ReasonCode.HARDWARE_BUDGET,
        traceback="",
        limit={"scope": "flow run", "limit_seconds": 5.0, "used_seconds": 10.5},
    )
    messages.usage(seconds=1.5, quantum_seconds=0.0, simulation_methods=["stabilizer"])
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read()


LIMITS = ServiceLimits(result=1000, interim=100, interim_total=250, interim_count=3)

EVENTS = [
    Started({"python": "3.11.7", "qiskit": "2.6.1"}),
    Interim('{"a": "é\\n"}'),
    Result(""),
    ProgramError("ValueError", "größer", ReasonCode.PROGRAM_RAISED, "Traceback\n  …"),
    ProgramError(
        "HardwareBudgetError",
        "used up",
        ReasonCode.HARDWARE_BUDGET,
        "",
        models.UsedUpLimit(scope="flow run", limit_seconds=5, used_seconds=10.5),
    ),
    Usage(1.5, 0.0, ["stabilizer"]),
]


def test_every_message_is_as_the_schema_says(written):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    types = []
    rest = written
    while rest:
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        validator.validate(header)
        types.append(header["type"])
        rest = rest[header["bytes"] :]
    assert types == ["started", "interim", "result", "error", "error", "usage"]
    known = [variant["properties"]["type"]["const"] for variant in SCHEMA["oneOf"]]
    assert list(dict.fromkeys(types)) == known


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_messages_are_read_however_they_are_cut(written, size):
    parser = MessageParser(LIMITS)
    pieces = [written[begin : begin + size] for begin in range(0, len(written), size)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_message_that_never_became_whole_is_not_given(written):
    assert list(MessageParser(LIMITS).feed(written[:-40])) == EVENTS[:-1]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"[]\n",
        b'{"v": 2, "type": "interim", "bytes": 0}\n',
        b'{"v": 1, "type": "unheard", "bytes": 0}\n',
        b'{"v": 1, "type": "interim", "bytes": -1}\n',
        b'{"v": 1, "type": "interim", "bytes": 1.5}\nxx',
        b"[" * 60_000 + b"\n",
        b'{"v": 1, "type": "interim", "bytes": 1}\n\xff',
        b'{"v": 1, "type": "usage", "bytes": 0}\n',
        (
            b'{"v": 1, "type": "error", "error_type": "E", "message": "", "reason_code": 90009,'
            b' "limit": {"scope": "week", "limit_seconds": 1}, "bytes": 0}\n'
        ),
        b"x" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ProtocolError):
        list(MessageParser(LIMITS).feed(data))


def test_an_error_can_be_stored_whatever_its_message_holds():
    reader, writer = os.pipe()
    MessageWriter(writer, MessageLimits(1000, 1000, 1000, 3)).error(
        error_type="ValueError", message="half \ud800", reason_code=90001, traceback="\ud800"
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        (event,) = MessageParser(LIMITS).feed(pipe.read())
    assert event == ProgramError("ValueError", "half \\ud800", 90001, "\\ud800")


def test_reason_codes_of_the_runner_are_those_of_the_models():
    own = {name: value for name, value in vars(ReasonCode).items() if name.isupper()}
    assert own == {name: getattr(models.ReasonCode, name) for name in own}
    error = next(v for v in SCHEMA["oneOf"] if v["properties"]["type"]["const"] == "error")
    assert error["properties"]["reason_code"]["enum"] == sorted(own.values())


def header(kind: str, size: int) -> bytes:
    return b'{"v": 1, "type": "%s", "bytes": %d}\n' % (kind.encode(), size)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (header("result", 1001), "a message 'result' of 1001 bytes; at most 1000 are accepted"),
        (header("interim", 101), "a message 'interim' of 101 bytes; at most 100 are accepted"),
        (header("error", 2**20 + 1), "a message 'error' of 1048577 bytes; at most 1048576"),
        (
            (header("interim", 100) + b"x" * 100) * 3,
            "interim results of 300 bytes in total; at most 250",
        ),
        (header("interim", 0) * 4, "more than 3 interim results, which is the limit"),
    ],
)
def test_a_message_over_a_limit_is_refused_by_its_header(data, problem):
    with pytest.raises(MessageTooLargeError, match=problem):
        list(MessageParser(LIMITS).feed(data))


def test_an_interim_result_over_the_number_of_a_job_is_not_sent():
    reader, writer = os.pipe()
    messages = MessageWriter(writer, MessageLimits(1000, 1000, 1000, 3))
    for _ in range(3):
        messages.interim("1")
    with pytest.raises(MessageLimitError, match="a job may publish 3, and this one has"):
        messages.interim("1")
    messages.result("1")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        events = list(MessageParser(LIMITS).feed(pipe.read()))
    assert events == [Interim("1")] * 3 + [Result("1")]
