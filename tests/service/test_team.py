"""The team service: users kept apart, TLS, registered images, and how it starts and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from prefect_qiskit_runtime.client import RuntimeClient
from tests.team import TOKENS, TeamService, running_team, start_team
from tests.waiting import wait_until

from .conftest import COUNTING, finish, submit, upload


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    home = tmp_path_factory.mktemp("team") / "home"
    other = f"other={sys.executable}"
    with running_team(home, "--tls", "self-signed", "--image", other) as service:
        yield service


@pytest.fixture
def alice(team: TeamService) -> Iterator[httpx.Client]:
    with team.client("alice") as client:
        yield client


@pytest.fixture
def bob(team: TeamService) -> Iterator[httpx.Client]:
    with team.client("bob") as client:
        yield client


def run_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefect_qiskit_runtime.cli", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_users_private_program_is_not_there_for_another(alice, bob) -> None:
    program_id = upload(alice)
    path = f"/programs/{program_id}"
    answers = [
        bob.get(path),
        bob.get(f"{path}/versions/1"),
        bob.put(f"{path}/data", content="cGFzcw=="),
        bob.patch(path, json={"description": "mine"}),
        bob.put(f"{path}/public"),
        bob.put(f"{path}/private"),
        bob.delete(path),
        bob.post("/jobs", json={"program_id": program_id}),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert program_id not in bob.get("/programs").text
    assert alice.get(path).json()["description"] == ""


def test_a_public_program_is_run_by_all_and_read_and_changed_by_its_owner(alice, bob) -> None:
    program_id = upload(alice, is_public=True)
    path = f"/programs/{program_id}"
    assert "data" not in bob.get(path).json()
    assert alice.get(path).json()["data"] == COUNTING
    assert bob.get(f"{path}/versions/1").status_code == 404
    refused = [
        bob.put(f"{path}/data", content="cGFzcw=="),
        bob.patch(path, json={"description": "mine"}),
        bob.put(f"{path}/private"),
        bob.delete(path),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    job_id = submit(bob, program_id)
    assert finish(bob, job_id) == {"status": "Completed"}
    assert bob.get(f"/jobs/{job_id}/results").text == '"done"'


def test_a_users_jobs_are_not_there_for_another_not_even_the_programs_owner(alice, bob) -> None:
    job_id = submit(bob, upload(alice, is_public=True), tags=["shared"])
    finish(bob, job_id)
    path = f"/jobs/{job_id}"
    answers = [
        alice.get(path),
        *(
            alice.get(f"{path}/{page}")
            for page in ("results", "interim_results", "logs", "metrics", "stream")
        ),
        alice.get(f"/facade/v1{path}/type"),
        alice.put(f"{path}/tags", json={"tags": []}),
        alice.post(f"{path}/cancel"),
        alice.delete(path),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert alice.get("/jobs", params={"tags": "shared"}).json() == {"jobs": [], "count": 0}
    assert bob.get(path).json()["tags"] == ["shared"]


def test_equal_keys_of_two_users_are_two_jobs(alice, bob) -> None:
    program_id = upload(alice, is_public=True)
    for client in (alice, bob):
        client.headers["Idempotency-Key"] = "the-same"
    assert submit(alice, program_id) != submit(bob, program_id)


def test_jobs_run_in_registered_images_only(alice) -> None:
    program_id = upload(alice)
    job_id = submit(alice, program_id, runtime="other")
    assert finish(alice, job_id) == {"status": "Completed"}
    assert alice.get(f"/jobs/{job_id}").json()["runtime"] == "other"
    refused = alice.post(
        "/jobs", json={"program_id": program_id, "runtime": f"python:{sys.executable}"}
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["rule"] == "one of default, other"
    assert sys.executable not in alice.get(f"/jobs/{submit(alice, program_id)}").text


def test_the_certificate_is_for_the_names_of_this_machine(team) -> None:
    certificate = x509.load_pem_x509_certificate(team.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (team.home / "tls" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert team.home.stat().st_mode & 0o777 == 0o700


async def test_our_client_trusts_it_by_a_variable(team, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(team.certificate))
    async with RuntimeClient(team.url, TOKENS["bob"]) as client:
        assert "aer_simulator" in [backend.name for backend in await client.backends()]


def test_nothing_of_it_is_for_other_accounts_of_the_machine(team) -> None:
    for path in team.home.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_it_ends_cleanly_and_comes_back_with_all_it_had(tmp_path: Path) -> None:
    service = start_team(tmp_path / "home", "--tls", "self-signed")
    certificate = service.certificate.read_bytes()
    with service.client() as client:
        program_id = upload(client)
        job_id = submit(client, program_id, params={"wait_for": str(tmp_path / "never")})
        wait_until(
            lambda: client.get(f"/jobs/{job_id}").json()["state"]["status"] == "Running", "it runs"
        )
    assert service.terminate() == 0
    service.close()
    assert "Traceback" not in service.log
    again = start_team(tmp_path / "home", "--tls", "self-signed")
    with again.client() as client:
        assert client.get(f"/programs/{program_id}").status_code == 200
        state = client.get(f"/jobs/{job_id}").json()["state"]
        assert (state["status"], state["reasonCode"]) == ("Failed", 1500)
    again.close()
    assert again.certificate.read_bytes() == certificate
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        content = path.read_bytes()
        assert not any(token.encode() in content for token in TOKENS.values()), path


def test_a_token_may_come_from_a_variable(tmp_path: Path) -> None:
    service = start_team(
        tmp_path / "home", "--user", "carol.b", PREFECT_QISKIT_RUNTIME_TOKEN_CAROL_B="of-carol"
    )
    with service.client() as client:
        client.headers["Authorization"] = "Bearer of-carol"
        assert client.get("/users/me").json()["username"] == "carol.b"
    service.close()


def test_a_home_has_one_service(team) -> None:
    second = run_serve("--home", str(team.home), "--port", "0", "--user", "a:b")
    assert second.returncode == 1
    assert second.stderr == f"Error: The home {team.home} already has a service.\n"


def test_a_taken_port_is_named(team, tmp_path: Path) -> None:
    port = team.url.rpartition(":")[2]
    second = run_serve("--home", str(tmp_path), "--port", port, "--user", "a:b")
    assert second.returncode == 1
    expected = f"Error: Cannot listen on 127.0.0.1, port {port}: Address already in use.\n"
    assert second.stderr == expected


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    for file in files:
        file.write_text("nothing")
    refused = run_serve(
        *("--home", str(tmp_path / "home"), "--user", "a:b", "--tls", f"{files[0]}:{files[1]}")
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: The certificate {files[0]} with the key {files[1]}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "alice"],
        ["--user", ":token"],
        ["--user", "a:t", "--user", "a:u"],
        ["--user", "a:t", "--user", "b:t"],
        ["--user", "a:t", "--tls", "nonsense"],
        ["--user", "a:t", "--image", "x=/no/such/python"],
        ["--user", "a:t", "--image", "x"],
        [],
    ],
)
def test_wrong_arguments_start_nothing(tmp_path: Path, arguments: list[str]) -> None:
    refused = run_serve("--home", str(tmp_path / "home"), *arguments)
    assert refused.returncode == 2
    assert not (tmp_path / "home").exists()
