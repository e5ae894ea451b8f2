"""Saved accounts: the same file, names and order of choice as qiskit's own."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime.client import IbmAccount, RuntimeClient, SavedAccount, SyncRuntimeClient
from prefect_qiskit_runtime.errors import ConfigurationError

VARIABLES = ("TOKEN", "URL", "INSTANCE", "CHANNEL")
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1234:5678::"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """qiskit's own file, in a home of the test's own."""
    from qiskit_ibm_runtime.accounts import management

    for name in VARIABLES:
        monkeypatch.delenv(f"QISKIT_IBM_{name}", raising=False)
    file = tmp_path / ".qiskit" / "qiskit-ibm.json"
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(file))
    return file


def save(name: str | None = None, **fields: Any) -> None:
    RuntimeClient.save_account(f"key-of-{name}", name=name, **fields)


def key(**asked: Any) -> str:
    return SavedAccount(**asked).read().api_key


def test_qiskit_finds_what_was_saved() -> None:
    from qiskit_ibm_runtime import QiskitRuntimeService

    RuntimeClient.save_account(
        token="the-key",
        instance=CRN,
        name="mine",
        proxies={"urls": {"https": "http://proxy:3128"}},
        region="eu-de",
        tags=["paid"],
        set_as_default=True,
    )
    assert QiskitRuntimeService.saved_accounts()["mine"] == {
        "channel": "ibm_quantum_platform",
        "token": "the-key",
        "url": "https://cloud.ibm.com",
        "instance": CRN,
        "proxies": {"urls": {"https": "http://proxy:3128"}},
        "region": "eu-de",
        "tags": ["paid"],
        "verify": True,
        "private_endpoint": False,
    }


def test_what_qiskit_saved_is_found() -> None:
    from qiskit_ibm_runtime import QiskitRuntimeService

    QiskitRuntimeService.save_account(
        token="the-key",
        name="theirs",
        instance=CRN,
        verify=False,
        private_endpoint=True,
        plans_preference=["open"],
    )
    account = SavedAccount("theirs").read()
    assert account == IbmAccount(
        "the-key",
        instance=CRN,
        url="https://cloud.ibm.com",
        private_endpoint=True,
        verify=False,
        plans=("open",),
    )
    assert account.api_url(CRN) == "https://private.us-east.quantum.cloud.ibm.com/api/v1"


def test_a_new_file_is_for_its_owner_only(file: Path) -> None:
    save("mine")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_accounts_are_listed_with_their_keys_hidden() -> None:
    save("mine")
    save(None, channel="ibm_cloud")
    accounts = RuntimeClient.saved_accounts()
    assert set(accounts) == {"mine", "default-ibm-cloud"}
    assert accounts["mine"]["token"].get_secret_value() == "key-of-mine"
    assert "key-of-mine" not in str(accounts)
    assert set(SyncRuntimeClient.saved_accounts(default=True)) == {"default-ibm-cloud"}
    assert set(RuntimeClient.saved_accounts(channel="ibm_quantum_platform")) == {"mine"}
    assert set(RuntimeClient.saved_accounts(name="mine")) == {"mine"}


def test_without_a_file_there_are_none_and_none_is_made(file: Path) -> None:
    assert RuntimeClient.saved_accounts() == {}
    assert RuntimeClient.delete_account(name="mine") is False
    assert not file.exists()


def test_deleting_says_whether_there_was_one() -> None:
    save("mine")
    save(None)
    assert RuntimeClient.delete_account(name="mine") is True
    assert RuntimeClient.delete_account(name="mine") is False
    assert RuntimeClient.delete_account(channel="ibm_quantum_platform") is True
    assert RuntimeClient.saved_accounts() == {}


def test_an_account_is_replaced_only_if_that_is_asked_for() -> None:
    save("mine")
    with pytest.raises(ConfigurationError, match="already exists"):
        RuntimeClient.save_account("new", name="mine")
    RuntimeClient.save_account("new", name="mine", overwrite=True)
    assert key(name="mine") == "new"


def test_another_default_needs_overwrite() -> None:
    save("first", set_as_default=True)
    with pytest.raises(ConfigurationError, match="already exists"):
        save("second", set_as_default=True)
    save("second", set_as_default=True, overwrite=True)
    assert key() == "key-of-second"


def test_another_file_is_used_also_by_a_bare_name(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save("mine", filename="accounts.json")
    assert json.loads((tmp_path / "accounts.json").read_text())["mine"]["token"] == "key-of-mine"
    assert key(filename="accounts.json") == "key-of-mine"
    assert not file.exists()


# The order of choice: each test takes away what the one before it chose.


def test_a_name_goes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    save("mine")
    save("default", set_as_default=True)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "key-of-the-variables")
    assert key(name="mine") == "key-of-mine"


def test_then_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    save("default", set_as_default=True)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "key-of-the-variables")
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", CRN)
    monkeypatch.setenv("QISKIT_IBM_URL", "https://own.org/api/v1")
    account = SavedAccount().read()
    assert account.api_key == "key-of-the-variables"
    assert (account.instance, account.api_url(CRN)) == (CRN, "https://own.org/api/v1")


def test_then_the_default_account_of_the_channel_that_is_named() -> None:
    save("cloud", channel="ibm_cloud", set_as_default=True)
    save(None, channel="ibm_quantum_platform")
    assert key(channel="ibm_quantum_platform") == "key-of-None"
    assert key(channel="ibm_cloud") == "key-of-cloud"


def test_then_the_default_account(monkeypatch: pytest.MonkeyPatch) -> None:
    save(None, channel="ibm_quantum_platform")
    save("mine", channel="ibm_cloud", set_as_default=True)
    assert key() == "key-of-mine"


def test_then_one_of_the_channel_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    save("platform", channel="ibm_quantum_platform")
    save("cloud", channel="ibm_cloud")
    monkeypatch.setenv("QISKIT_IBM_CHANNEL", "ibm_cloud")
    assert key() == "key-of-cloud"


def test_then_any_of_the_usual_channel() -> None:
    save("cloud", channel="ibm_cloud")
    save("platform", channel="ibm_quantum_platform")
    assert key() == "key-of-platform"


def test_then_the_one_under_a_default_name() -> None:
    save(None, channel="ibm_cloud")
    assert key() == "key-of-None"


def test_what_is_given_goes_before_what_is_saved() -> None:
    save("mine", instance=CRN, verify=True)
    account = SavedAccount("mine", instance="another", verify=False, region="eu-de").read()
    assert (account.instance, account.verify, account.region) == ("another", False, "eu-de")


def test_any_instance_means_that_none_is_named() -> None:
    save("mine", instance="auto")
    assert SavedAccount("mine").read().instance is None


# Mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "Unable to find account"),
        ({"name": "nobody"}, r"nobody does not exist on disk\. RuntimeClient\.saved_accounts\(\)"),
        ({"filename": "/nowhere/a.json"}, "The file /nowhere/a.json does not exist"),
        ({"channel": "ibm_quantum"}, "Unable to find account"),
    ],
)
def test_an_account_that_is_not_there_is_explained(asked: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        SavedAccount(**asked).read()


def test_a_file_that_is_none_is_explained(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(ConfigurationError, match="must be JSON as qiskit writes it"):
        SavedAccount().read()


@pytest.mark.parametrize(
    "wrong",
    [{"channel": "ibm_quantum"}, {"region": "moon"}, {"proxies": {"username_ntlm": "u"}}],
)
def test_a_wrong_account_is_not_saved(file: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        save("mine", **wrong)
    assert RuntimeClient.saved_accounts() == {}


async def test_a_client_of_an_account_that_is_not_there_says_so_when_it_is_opened() -> None:
    client = RuntimeClient.from_saved_account("nobody")
    with pytest.raises(ConfigurationError, match="nobody does not exist"):
        async with client:
            pass


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"channel": "ibm_quantum_platform"}, "needs a token"),
        ({"channel": "ibm_quantum", "token": "t"}, "IBM closed the channel"),
        ({"channel": "another", "token": "t"}, "The channel 'another' does not exist"),
        ({"token": "t"}, "channel='ibm_quantum_platform'"),
    ],
)
def test_arguments_that_mean_no_service_are_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        RuntimeClient(**asked)


# --- several writers, and files with other entries -----------------------------------------------

ODD = {
    "legacy": {"channel": "ibm_quantum", "token": "old"},
    "no-channel": {"token": "t"},
    "note": "written by hand",
    "list": [1, 2],
    "later": {"channel": "of a later version", "token": "t", "more": {"a": 1}},
}


SAVING_THREE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from qiskit_ibm_runtime.accounts import management
from prefect_qiskit_runtime.client import RuntimeClient

file, instance, number = sys.argv[1:]
management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE = file

def save(name):
    RuntimeClient.save_account("key-of-" + name, name=name, instance=instance)

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(3) as threads:
    list(threads.map(save, [f"{number}-{one}" for one in range(3)]))
"""


def test_accounts_that_are_saved_at_the_same_time_are_all_saved(file: Path) -> None:
    """By four processes with three threads each."""
    save("before", channel="ibm_cloud", instance=CRN)
    with ExitStack() as processes:
        writers = [
            processes.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SAVING_THREE, str(file), CRN, str(number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(4)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    names = {f"{number}-{one}" for number in range(4) for one in range(3)}
    assert RuntimeClient.saved_accounts().keys() == names | {"before"}


def test_a_process_that_dies_while_it_saves_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("before", instance=CRN)
    text = file.read_text()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        save("after", instance=CRN)
    monkeypatch.undo()
    assert file.read_text() == text
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, f"{file.name}.lock"]


def test_entries_that_qiskit_cannot_read_stay_and_do_not_disturb(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps(ODD))
    file.chmod(0o640)
    save("mine", instance=CRN, set_as_default=True)
    assert key() == key(name="mine") == "key-of-mine"
    assert RuntimeClient.saved_accounts().keys() == {"mine"}
    entries = json.loads(file.read_text())
    assert {name: entries[name] for name in ODD} == ODD
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert RuntimeClient.delete_account(name="mine")
    assert json.loads(file.read_text()) == ODD


def test_they_are_replaced_and_deleted_only_by_name(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps(ODD))
    with pytest.raises(ConfigurationError, match="An entry named 'note' that Qiskit cannot read"):
        save("note", instance=CRN)
    assert json.loads(file.read_text()) == ODD
    save("note", instance=CRN, overwrite=True)
    assert key(name="note") == "key-of-note"
    assert RuntimeClient.delete_account(name="list")
    assert not RuntimeClient.delete_account(name="list")
    assert json.loads(file.read_text()).keys() == ODD.keys() - {"list"}


@pytest.mark.parametrize("content", ["[]", "7", '"accounts"', ""])
def test_a_file_of_another_kind_is_refused_and_not_changed(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    for doing in (lambda: save("mine", instance=CRN), key, RuntimeClient.saved_accounts):
        with pytest.raises(ConfigurationError, match="The file must be JSON as qiskit writes it"):
            doing()
    assert file.read_text() == content


def test_a_file_behind_a_link_is_changed_in_its_place(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    target.write_text("{}")
    file.parent.mkdir()
    file.symlink_to(target)
    save("mine", instance=CRN)
    assert file.is_symlink()
    assert json.loads(target.read_text()).keys() == {"mine"}
