"""Publishing, inside a job and outside."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from prefect_qiskit_runtime.errors import DecodingError, EncodingError
from prefect_qiskit_runtime.program import ResultDecoder, UserMessenger


def test_outside_a_job_the_message_is_printed(capsys):
    UserMessenger().publish({"iteration": 1, "value": 1j})

    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert ResultDecoder.decode(printed) == {"iteration": 1, "value": 1j}


def test_in_a_job_the_encoded_text_goes_to_the_sink():
    sent: list[tuple[str, bool]] = []
    messenger = UserMessenger(lambda text, final: sent.append((text, final)))

    messenger.publish({"n": 1})
    messenger.publish([2], final=True)

    assert sent == [('{"n": 1}', False), ("[2]", True)]


def test_a_program_may_bring_its_encoder():
    class Names(json.JSONEncoder):
        def default(self, o):
            return type(o).__name__

    sent: list[str] = []
    UserMessenger(lambda text, _: sent.append(text)).publish({1}, encoder=Names)

    assert sent == ['"set"']


def test_what_cannot_be_encoded_raises_in_the_program_and_sends_nothing():
    sent: list[str] = []
    messenger = UserMessenger(lambda text, _: sent.append(text))

    with pytest.raises(EncodingError, match=r"Cannot encode \$\.best\.f"):
        messenger.publish({"best": {"f": print}})

    assert sent == []


def test_a_result_decoder_can_be_subclassed():
    class Energy(ResultDecoder):
        @classmethod
        def decode(cls, data):
            return super().decode(data)["energy"]

    assert Energy.decode('{"energy": -1.1}') == -1.1
    with pytest.raises(DecodingError):
        Energy.decode("no JSON")


def test_importing_the_room_imports_no_qiskit():
    program = """
import sys
from prefect_qiskit_runtime.program import ResultDecoder, UserMessenger
print(sorted({"qiskit", "numpy", "prefect"} & set(sys.modules)))
from prefect_qiskit_runtime.program import ProgramBackend
print(ProgramBackend.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\nProgramBackend\n", "")
