"""How a program ends, seen from the service: result, exception, exit, signal, limits."""

import json
import signal

import pytest

from prefect_qiskit_runtime.models import ReasonCode, UsedUpLimit
from prefect_qiskit_runtime.service.execution.executor import Interim, Result, Started, Usage

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_interim_results_come_before_the_result_and_the_end_is_last(jobs):
    ended = await jobs.run(
        """
        def main(backend, user_messenger, iterations):
            for iteration in range(iterations):
                user_messenger.publish({"iteration": iteration})
            return "Hello, World!"
        """,
        inputs=b'{"iterations": 2}',
    )
    assert [type(event).__name__ for event in ended.events] == [
        "Started",
        "Interim",
        "Interim",
        "Result",
        "Usage",
        "Exited",
    ]
    assert ended.interim == ['{"iteration": 0}', '{"iteration": 1}']
    assert ended.result == '"Hello, World!"'
    assert (ended.exited.exit_code, ended.exited.signal) == (0, None)
    assert set(ended.only(Started).versions) == {
        "python",
        "qiskit",
        "qiskit-aer",
        "qiskit-ibm-runtime",
    }
    assert ended.only(Usage).quantum_seconds == 0.0
    assert not ended.launch.scratch.exists()


async def test_exception_is_reported_with_the_frames_of_the_program_only(jobs):
    ended = await jobs.run(
        """\
        def invert(x):
            return 1 / x

        def main(backend, user_messenger):
            try:
                invert(0)
            except ZeroDivisionError as exc:
                raise ValueError("no inverse") from exc
        """
    )
    error = ended.error
    assert (error.error_type, error.message) == ("ValueError", "no inverse")
    assert error.reason_code == ReasonCode.PROGRAM_RAISED
    lines = error.traceback.splitlines()
    assert [line for line in lines if line.startswith("  File")] == [
        '  File "hello-1234.py", line 6, in main',
        '  File "hello-1234.py", line 2, in invert',
        '  File "hello-1234.py", line 8, in main',
    ]
    assert "    return 1 / x" in lines
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-1] == "ValueError: no inverse"
    assert error.traceback in ended.log
    assert ended.exited.exit_code == 1


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        (
            "scope='day', limit_seconds=5, used_seconds=7.5",
            UsedUpLimit(scope="day", limit_seconds=5.0, used_seconds=7.5),
        ),
        ("scope='day', limit_seconds=5", UsedUpLimit(scope="day", limit_seconds=5.0)),
        ("scope='day', limit_seconds=float('nan')", None),
        ("scope=['week'], limit_seconds=5", None),
        ("", None),
    ],
)
async def test_a_used_up_budget_is_reported_with_the_limit_that_the_error_names(
    jobs, fields, limit
):
    ended = await jobs.run(
        f"""
        from prefect_qiskit_runtime.errors import HardwareBudgetError

        def main(backend, user_messenger):
            raise HardwareBudgetError("used up", {fields})
        """
    )
    assert (ended.error.message, ended.error.reason_code) == ("used up", 90009)
    assert ended.error.limit == limit


@pytest.mark.parametrize(
    ("statement", "exit_code"),
    [("sys.exit(3)", 3), ("sys.exit('stopped')", 1), ("sys.exit()", 0)],
)
async def test_exit_before_main_returns_is_no_result(forked, statement, exit_code):
    ended = await forked.run(f"import sys\ndef main(backend, user_messenger):\n    {statement}")
    assert ended.error.error_type == "SystemExit"
    assert ended.error.reason_code == ReasonCode.PROGRAM_EXITED
    assert ended.exited.exit_code == exit_code


async def test_exit_after_a_final_result_keeps_the_result(forked):
    ended = await forked.run(
        """
        import sys
        def main(backend, user_messenger):
            user_messenger.publish("done", final=True)
            sys.exit()
        """
    )
    assert ended.result == '"done"'
    assert ended.interim == []


async def test_hard_exit_gives_its_code_and_nothing_else(forked):
    ended = await forked.run("import os\ndef main(backend, user_messenger):\n    os._exit(7)")
    assert [type(event).__name__ for event in ended.events] == ["Started", "Exited"]
    assert ended.exited.exit_code == 7


async def test_segmentation_fault_leaves_a_trace_in_the_log(jobs):
    ended = await jobs.run(
        "import ctypes\ndef main(backend, user_messenger):\n    ctypes.string_at(0)"
    )
    assert (ended.exited.exit_code, ended.exited.signal) == (None, signal.SIGSEGV)
    assert ended.exited.memory_exceeded is False
    assert "Fatal Python error: Segmentation fault" in ended.log
    assert 'File "hello-1234.py", line 3 in main' in ended.log


async def test_return_value_wins_over_a_published_final_result_and_the_log_says_so(forked):
    ended = await forked.run(
        """
        def main(backend, user_messenger):
            user_messenger.publish("published", final=True)
            return "returned"
        """
    )
    assert ended.result == '"returned"'
    assert "published a final result and also returned a value" in ended.log


async def test_published_final_result_counts_when_main_returns_nothing(forked):
    ended = await forked.run(
        "def main(backend, user_messenger):\n    user_messenger.publish([1], final=True)"
    )
    assert ended.result == "[1]"


async def test_no_result_at_all_is_null(forked):
    ended = await forked.run("def main(backend, user_messenger):\n    pass")
    assert ended.result == "null"


async def test_async_main_is_run(forked):
    ended = await forked.run("async def main(backend, user_messenger, **inputs):\n    return 5")
    assert ended.result == "5"


async def test_wrong_inputs_are_named(forked):
    ended = await forked.run(
        "def main(backend, user_messenger, hamiltonian, maxiter=10):\n    pass",
        inputs=b'{"hamiltonain": 1, "backend": 2}',
    )
    assert ended.error.error_type == "TypeError"
    assert ended.error.message == (
        "main of hello-1234.py lacks the input 'hamiltonian' and does not take the input "
        "'hamiltonain' and gets from the service, not as an input, 'backend'; it is "
        "main(backend, user_messenger, hamiltonian, maxiter=10)"
    )
    assert ended.error.traceback == ""


async def test_missing_module_is_explained(forked):
    ended = await forked.run("import cvxopt_of_nobody\ndef main(backend, user_messenger): pass")
    assert ended.error.error_type == "ModuleNotFoundError"
    assert ended.error.message.startswith("No module named 'cvxopt_of_nobody'. The job ran in ")
    assert '  File "hello-1234.py", line 1, in <module>' in ended.error.traceback


async def test_syntax_error_shows_the_line(forked):
    ended = await forked.run("def main(backend, user_messenger):\n    return 1 +")
    assert ended.error.error_type == "SyntaxError"
    assert '  File "hello-1234.py", line 2' in ended.error.traceback


async def test_main_guard_of_a_script_is_not_entered(forked):
    ended = await forked.run(
        """
        def main(backend, user_messenger):
            return 1
        if __name__ == "__main__":
            raise RuntimeError("run as a script")
        """
    )
    assert ended.result == "1"


async def test_unknown_backend_means_the_program_was_not_started(forked):
    ended = await forked.run("def main(backend, user_messenger): pass", backend="fake_nowhere")
    assert ended.error.reason_code == ReasonCode.START_FAILED
    assert "the backend 'fake_nowhere' cannot be made" in ended.error.message


async def test_undecodable_inputs_mean_the_program_was_not_started(forked):
    ended = await forked.run("def main(backend, user_messenger): pass", inputs=b"[1]")
    assert ended.error.reason_code == ReasonCode.START_FAILED
    assert "the inputs cannot be decoded" in ended.error.message


async def test_result_without_encoding_has_its_own_code(forked):
    ended = await forked.run(
        "def main(backend, user_messenger):\n    return {'lock': __import__('threading').Lock()}"
    )
    assert ended.error.error_type == "EncodingError"
    assert ended.error.reason_code == ReasonCode.RESULT_NOT_ENCODABLE


async def test_results_of_many_kinds_arrive_encoded(forked):
    from prefect_qiskit_runtime import codec

    ended = await forked.run(
        """
        import numpy as np
        from qiskit import QuantumCircuit
        class Own:
            def to_json(self):
                return '{"a": 1}'
        def main(backend, user_messenger):
            circuit = QuantumCircuit(1)
            circuit.h(0)
            return {"array": np.arange(3), "circuit": circuit, "z": 1 + 2j, "own": Own()}
        """
    )
    value = codec.decode(ended.result)
    assert value["array"].tolist() == [0, 1, 2]
    assert [gate.operation.name for gate in value["circuit"].data] == ["h"]
    assert value["z"] == 1 + 2j
    assert json.loads(value["own"]) == {"a": 1}


async def test_more_memory_than_the_limit_is_a_memory_error_in_the_program(jobs):
    ended = await jobs.run(
        "import numpy\ndef main(backend, user_messenger):\n    return numpy.ones(10**9).sum()"
    )
    assert ended.error.error_type.endswith("MemoryError")
    assert ended.error.reason_code == ReasonCode.MEMORY_LIMIT
    assert 'File "hello-1234.py", line 3, in main' in ended.error.traceback
    assert ended.exited.memory_exceeded is True


async def test_growing_beyond_the_memory_limit_is_reported(forked):
    ended = await forked.run(
        """
        def main(backend, user_messenger):
            hoard = []
            while True:
                hoard.append(bytearray(10**6))
        """
    )
    assert ended.error.reason_code == ReasonCode.MEMORY_LIMIT
    assert ended.exited.memory_exceeded is True


async def test_c_library_without_memory_counts_as_memory_exceeded(forked):
    ended = await forked.run(
        """
        import os, sys
        def main(backend, user_messenger):
            sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\\n")
            os.abort()
        """
    )
    assert ended.exited.signal == signal.SIGABRT
    assert ended.exited.memory_exceeded is True


async def test_file_beyond_the_limit_raises_in_the_program(jobs):
    ended = await jobs.run(
        """
        import errno
        def main(backend, user_messenger):
            try:
                with open("big", "wb") as file:
                    file.write(bytes(2 * 1024**2))
            except OSError as exc:
                return errno.errorcode[exc.errno]
        """
    )
    assert ended.result == '"EFBIG"'


async def test_ten_thousand_messages_arrive_in_order(jobs):
    ended = await jobs.run(
        """
        def main(backend, user_messenger):
            for number in range(10_000):
                user_messenger.publish(number)
        """
    )
    assert ended.interim == [str(number) for number in range(10_000)]


async def test_large_result_arrives_whole(forked):
    ended = await forked.run("def main(backend, user_messenger):\n    return 'é' * 10_000_000")
    assert json.loads(ended.result) == "é" * 10_000_000


async def test_threads_that_the_program_leaves_do_not_hold_the_job(forked):
    ended = await forked.run(
        """
        import threading
        def main(backend, user_messenger):
            threading.Thread(target=threading.Event().wait).start()
            return 1
        """
    )
    assert ended.result == "1"


async def test_a_message_is_on_its_way_when_publish_returns(forked, tmp_path):
    go = tmp_path / "go"
    launch = forked.describe(
        f"""
        import os
        def main(backend, user_messenger):
            user_messenger.publish("first")
            open({str(go)!r}).read()
            return "second"
        """
    )
    import os

    os.mkfifo(go)
    seen = []
    async for event in await forked.executor.launch(launch):
        if isinstance(event, Interim):
            seen.append(event.data)
            go.open("w").close()  # the program waits for this
        elif isinstance(event, Result):
            seen.append(event.data)
    assert seen == ['"first"', '"second"']
