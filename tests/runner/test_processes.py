"""The process of a job: its surroundings, the files and processes it leaves, and its end."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from prefect_qiskit_runtime.service.execution.executor import Exited, Interim, LaunchError, Result
from prefect_qiskit_runtime.service.execution.fork_executor import ForkExecutor
from prefect_qiskit_runtime.service.execution.job_log import JobLog

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = Path(__file__).with_name("killed_service.py")

LEAVE_CHILDREN = """
    import os, subprocess, sys
    WAIT = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    DAEMON = (
        "import os, sys\\n"
        "if os.fork(): os._exit(0)\\n"
        "os.setsid()\\n"
        "print(os.getpid(), flush=True)\\n" + WAIT
    )
    def leave_children():
        child = subprocess.Popen([sys.executable, "-c", WAIT])
        apart = subprocess.Popen([sys.executable, "-c", WAIT], start_new_session=True)
        daemon = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE)
        return [child.pid, apart.pid, int(daemon.stdout.readline())]
    """

FOREVER = """
    import signal
    def main(backend, user_messenger):
        user_messenger.publish("up")
        signal.pause()
    """


def _lives(pid):
    """Whether a process is there and not merely waiting for its parent to take note."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


async def _until_interim(events):
    async for event in events:
        if isinstance(event, Interim):
            return json.loads(event.data)
    raise AssertionError("no interim result")


async def test_terminate_ends_a_job(jobs):
    launch = jobs.describe(FOREVER)
    execution = await jobs.executor.launch(launch)
    events = aiter(execution)
    assert await _until_interim(events) == "up"
    await execution.terminate()
    await execution.terminate()
    assert [event async for event in events] == [Exited(None, signal.SIGTERM, False)]
    assert not launch.scratch.exists()


async def test_terminate_kills_a_job_that_ignores_the_request(jobs):
    source = FOREVER.replace(
        "signal.pause()", "\n        while True:\n            signal.pause()"
    ).replace('publish("up")', 'publish([signal.signal(signal.SIGTERM, signal.SIG_IGN), "up"][1])')
    execution = await jobs.executor.launch(jobs.describe(source))
    events = aiter(execution)
    assert await _until_interim(events) == "up"
    await execution.terminate()
    assert [event async for event in events] == [Exited(None, signal.SIGKILL, False)]


async def test_job_that_is_killed_within_a_message_gives_no_part_of_it(forked):
    execution = await forked.executor.launch(
        forked.describe(
            """
            import os, signal, threading
            def main(backend, user_messenger):
                user_messenger.publish("whole")
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
                user_messenger.publish("x" * 10**7)
            """
        )
    )
    events = aiter(execution)
    assert await _until_interim(events) == "whole"
    await (
        execution.ended
    )  # until then the pipe is not read, so that the message cannot become whole
    assert [event async for event in events] == [Exited(None, signal.SIGKILL, False)]


async def test_a_full_disk_loses_output_and_nothing_else(forked, monkeypatch):
    def fail(_log, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JobLog, "write", fail)
    ended = await forked.run(
        """
        def main(backend, user_messenger):
            print("x" * 10**6)  # more than a pipe holds
            return 1
        """
    )
    assert ended.result == "1"


@pytest.mark.parametrize("place", ["scratch", "log_path"])
async def test_a_job_whose_files_cannot_be_made_is_not_started(forked, place):
    launch = forked.describe("def main(backend, user_messenger): pass")
    blocked = forked.folder / "file"
    blocked.touch()
    launch = replace(launch, **{place: blocked / "below"})
    with pytest.raises(LaunchError, match="files cannot be created: "):
        await forked.executor.launch(launch)
    assert not launch.scratch.exists()


async def test_children_left_by_a_program_are_dead_when_it_has_exited(jobs):
    ended = await jobs.run(
        LEAVE_CHILDREN
        + """
    def main(backend, user_messenger):
        return leave_children()
    """
    )
    pids = json.loads(ended.result)
    assert len(pids) == 3
    assert [_lives(pid) for pid in pids] == [False] * 3


async def test_terminate_ends_children_in_other_sessions_too(jobs):
    execution = await jobs.executor.launch(
        jobs.describe(
            LEAVE_CHILDREN
            + """
    def main(backend, user_messenger):
        user_messenger.publish(leave_children())
        import signal
        signal.pause()
    """
        )
    )
    pids = await _until_interim(aiter(execution))
    await execution.terminate()
    assert [_lives(pid) for pid in pids] == [False] * 3


async def test_log_can_be_read_while_the_job_runs(forked):
    launch = forked.describe(
        """
        import logging, os, signal, sys, warnings
        def main(backend, user_messenger):
            print("to stdout")
            print("to stderr", file=sys.stderr)
            warnings.warn("old", DeprecationWarning)
            logging.getLogger("mine").info("a detail")
            logging.getLogger("mine").warning("a concern")
            os.system("echo from a child")
            signal.pause()
        """,
    )
    execution = await forked.executor.launch(launch)
    async with asyncio.timeout(20):
        while not (launch.log_path.exists() and "child" in launch.log_path.read_text()):
            await asyncio.sleep(0.01)
    log = launch.log_path.read_text()
    await execution.terminate()
    assert [word in log for word in ("to stdout", "to stderr", "DeprecationWarning: old")] == [
        True
    ] * 3
    assert "mine WARNING a concern" in log
    assert "a detail" not in log


async def test_log_level_is_the_one_asked_for(forked):
    ended = await forked.run(
        "import logging\ndef main(b, m):\n    logging.getLogger('mine').debug('a detail')",
        log_level="DEBUG",
    )
    assert "mine DEBUG a detail" in ended.log


async def test_megabytes_of_output_keep_the_begin_and_the_end_of_the_log(jobs):
    ended = await jobs.run(
        """
        def main(backend, user_messenger):
            for number in range(400_000):
                print("line", number)
        """
    )
    assert ended.result == "null"
    assert ended.log.startswith("line 0\nline 1\n")
    assert ended.log.endswith("line 399999\n")
    assert " bytes of the log were dropped here ...]\n" in ended.log
    assert ended.launch.log_path.stat().st_size <= 64 * 1024


async def test_jobs_do_not_share_random_state(forked):
    source = """
        import random
        import numpy
        from qiskit import QuantumCircuit
        def main(backend, user_messenger):
            circuit = QuantumCircuit(20)
            circuit.h(range(20))
            circuit.measure_all()
            (shot,) = backend.run(circuit, shots=1).result().get_counts()
            return [random.random(), numpy.random.random(), shot]
        """
    first, second = [json.loads((await forked.run(source)).result) for _ in range(2)]
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, False, False]


async def test_program_sees_no_secrets_and_works_in_its_own_folder(forked, monkeypatch, settings):
    secrets = ("PREFECT_API_KEY", "QISKIT_IBM_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN")
    for name in secrets:
        monkeypatch.setenv(name, "hidden")
    fresh = ForkExecutor(settings)
    forked_afresh = type(forked)(fresh, forked.folder)
    ended = await forked_afresh.run(
        """
        import os, subprocess, tempfile
        def main(backend, user_messenger):
            child = subprocess.check_output(["env"], text=True)
            parent = open(f"/proc/{os.getppid()}/environ").read()
            return [sorted(os.environ), child + parent, os.getcwd(), tempfile.gettempdir()]
        """
    )
    await fresh.close()
    names, environments, folder, temporary = json.loads(ended.result)
    assert not set(secrets) & set(names)
    assert "hidden" not in environments
    assert "PATH" in names
    assert folder == temporary == str(ended.launch.scratch)


async def test_numpy_and_aer_may_use_the_threads_of_the_job(forked):
    ended = await forked.run(
        """
        import os
        import numpy
        from qiskit import QuantumCircuit
        def main(backend, user_messenger):
            before = len(os.listdir("/proc/self/task"))
            numpy.ones((600, 600)) @ numpy.ones((600, 600))
            circuit = QuantumCircuit(18)
            circuit.h(range(18))
            circuit.measure_all()
            from qiskit_aer import AerSimulator
            simulator = AerSimulator(method="statevector")
            result = simulator.run(circuit).result()
            return result.results[0].metadata["parallel_state_update"]
        """
    )
    assert ended.result == "2"


async def test_program_may_start_processes_that_import_it(forked):
    ended = await forked.run(
        """
        import multiprocessing
        from qiskit_ibm_runtime.program import UserMessenger
        def square(x):
            return x * x
        def main(backend, user_messenger):
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                return pool.map(square, [1, 2, 3])
        """
    )
    assert ended.result == "[1, 4, 9]"


async def test_publishing_from_a_child_process_is_refused(forked):
    ended = await forked.run(
        """
        import os
        def main(backend, user_messenger):
            pid = os.fork()
            if pid == 0:
                try:
                    user_messenger.publish("from the child")
                except RuntimeError:
                    os._exit(9)
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        """
    )
    assert ended.interim == []
    assert ended.result == "9"


async def test_jobs_run_side_by_side_and_end_on_their_own(forked):
    running = await forked.executor.launch(forked.describe(FOREVER))
    assert await _until_interim(aiter(running)) == "up"
    assert (await forked.run("def main(b, m):\n    return 1")).result == "1"
    assert not running.ended.done()
    await running.terminate()


async def test_fork_server_that_was_killed_takes_its_jobs_along_and_is_replaced(settings, forked):
    executor = ForkExecutor(settings)
    jobs = type(forked)(executor, forked.folder)
    execution = await executor.launch(
        jobs.describe(
            LEAVE_CHILDREN
            + """
    def main(backend, user_messenger):
        user_messenger.publish([os.getppid(), *leave_children()])
        import signal
        signal.pause()
    """
        )
    )
    events = aiter(execution)
    fork_server, *children = await _until_interim(events)
    os.kill(fork_server, signal.SIGKILL)
    assert [event async for event in events] == [
        Exited(None, signal.SIGKILL, False, source_lost=True)
    ]
    assert [_lives(pid) for pid in children] == [False] * 3
    assert (await jobs.run("def main(b, m):\n    return 1")).result == "1"
    await executor.close()


async def test_jobs_and_their_children_die_with_the_service(forked, wait_ended, tmp_path):
    source = (
        LEAVE_CHILDREN
        + """
    def main(backend, user_messenger):
        user_messenger.publish([os.getpid(), os.getppid(), *leave_children()])
        import signal
        signal.pause()
    """
    )
    program = tmp_path / "program.py"
    program.write_text(dedent(source))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVICE), str(program), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pids = json.loads(await process.stdout.readline())
    process.kill()
    await process.wait()
    assert [await wait_ended(pid) for pid in pids] == [True] * 5


async def test_image_without_qiskit_is_refused_with_its_own_words(forked, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    image = f"python:{tmp_path}/bare/bin/python"
    with pytest.raises(LaunchError) as caught:
        await forked.executor.launch(forked.describe("def main(b, m): pass", image=image))
    assert caught.value.image == image
    assert image in str(caught.value)
    assert caught.value.stderr_tail.splitlines()[-1].startswith("ModuleNotFoundError: No module")


@pytest.mark.parametrize("image", ["python:/nowhere/python", "conda:base", "python:bin/python"])
async def test_image_that_is_no_interpreter_is_refused(forked, image):
    with pytest.raises(LaunchError) as caught:
        await forked.executor.warm(image)
    assert image in str(caught.value)


def make_environment(venv: Path) -> Path:
    """Make an environment that has our libraries too; return the folder for further ones."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "libraries.pth").write_text("\n".join(ours))
    return site_packages


async def test_job_of_another_environment_sees_that_environment(forked, tmp_path):
    venv = tmp_path / "other"
    site_packages = make_environment(venv)
    (site_packages / "only_here.py").write_text("VALUE = 1\n")
    image = f"python:{venv}/bin/python"
    source = "import only_here, sys\ndef main(b, m):\n    return [only_here.VALUE, sys.prefix]"
    assert json.loads((await forked.run(source, image=image)).result) == [1, str(venv)]


async def test_libraries_installed_later_are_seen_by_the_next_job(forked, tmp_path):
    venv = tmp_path / "changing"
    site_packages = make_environment(venv)
    image = f"python:{venv}/bin/python"
    parent = "import os\ndef main(b, m):\n    return os.getppid()"
    first = (await forked.run(parent, image=image)).result
    assert (await forked.run(parent, image=image)).result == first
    (site_packages / "new_library.py").write_text("")
    assert (await forked.run(parent, image=image)).result != first


async def test_events_wait_for_their_reader(forked):
    execution = await forked.executor.launch(
        forked.describe(
            """
            def main(backend, user_messenger):
                for number in range(100):
                    user_messenger.publish("x" * 10**6)
                return number
            """
        )
    )
    done, _ = await asyncio.wait([execution.ended], timeout=0.1)
    assert not done
    kinds = [type(event) async for event in execution]
    assert kinds.count(Interim) == 100
    assert kinds.count(Result) == 1
