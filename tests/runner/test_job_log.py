import errno
import os
import re

import pytest

from prefect_qiskit_runtime.service.execution.job_log import JobLog


def _marker(content: bytes) -> int:
    (number,) = re.findall(
        rb"\n\[\.\.\. (\d+) bytes of the log were dropped here \.\.\.\]\n", content
    )
    return int(number)


def test_short_log_is_kept_whole(tmp_path):
    log = JobLog(tmp_path / "logs" / "a", 1000)
    log.write(b"one\n")
    log.write(b"two")
    assert (tmp_path / "logs" / "a").read_bytes() == b"one\ntwo"
    log.close()


def test_every_byte_is_kept_or_counted(tmp_path):
    path = tmp_path / "a"
    log = JobLog(path, 1000)
    written = b""
    for number in range(2000):
        line = b"line %d\n" % number
        written += line
        log.write(line)
        content = path.read_bytes()
        assert len(content) <= 1000
        if b"dropped here" in content:
            head, tail = re.split(rb"\[\.\.\. \d+ bytes.*\n", content)
            assert written.startswith(head)
            assert written.endswith(tail)
            assert len(head) + len(tail) + _marker(content) == len(written)
    log.close()


def test_one_write_larger_than_the_limit(tmp_path):
    path = tmp_path / "a"
    log = JobLog(path, 1000)
    log.write(b"first\n" + b"x" * 10_000 + b"\nlast\n")
    content = path.read_bytes()
    assert content.startswith(b"first\n[... ")
    assert content.endswith(b"]\nlast\n")
    assert len(content) <= 1000
    log.close()


def test_shortening_without_room_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a"
    log = JobLog(path, 1000)
    log.write(b"one\n" * 200)

    def fail(_source, _target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(os, "replace", fail)
        log.write(b"lost\n" * 50)
    assert path.read_bytes() == b"one\n" * 200
    assert list(tmp_path.iterdir()) == [path]
    log.write(b"two\n" * 100)
    assert path.read_bytes().endswith(b"]\n" + b"two\n" * 62)
    assert _marker(path.read_bytes()) == 1200 - 2 * 248
    log.close()
