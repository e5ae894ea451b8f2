"""The file in which qiskit saves accounts, read by its own rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.client._account import IbmAccount
from prefect_qiskit_runtime.client._proxies import Proxies
from prefect_qiskit_runtime.codec import _seams
from prefect_qiskit_runtime.errors import ConfigurationError

_ANY_INSTANCE = "auto"


@dataclass(frozen=True)
class SavedAccount:
    """Where an account is saved, and what is to be different.

    qiskit's order of choice applies: the account of that `name`; else QISKIT_IBM_TOKEN with
    QISKIT_IBM_URL and QISKIT_IBM_INSTANCE; else, of the `channel` (or QISKIT_IBM_CHANNEL), the
    one that was saved as default, the one under the channel's default name, any other; else any.

    Attributes:
        name: Its name; None for the default one.
        filename: The file; None for qiskit's own.
        channel: Choose among the accounts of this channel, where no name is given.
        instance: In place of the saved one.
        region: Likewise.
        proxies: Likewise.
        verify: Likewise.
        private_endpoint: Likewise.
    """

    name: str | None = None
    filename: str | None = None
    channel: str | None = None
    instance: str | None = None
    region: str | None = None
    proxies: Proxies | None = None
    verify: bool | None = None
    private_endpoint: bool | None = None

    def read(self) -> IbmAccount:
        """Read the account. It blocks, and imports qiskit.

        Raises:
            ConfigurationError: There is none, or it cannot be used.
        """
        doing = f"read {'the account ' + repr(self.name) if self.name else 'an account'}"
        with explained(doing, self.filename):
            path = existing_file(self.filename)
            saved = _seams.account_manager().get(
                filename=path, name=self.name, channel=self.channel
            )
            saved.validate()
        account = _account_of(saved)
        asked = {
            name: getattr(self, name)
            for name in ("instance", "region", "proxies", "verify", "private_endpoint")
        }
        return replace(
            account, **{name: value for name, value in asked.items() if value is not None}
        )


def _account_of(saved: Any) -> IbmAccount:
    proxies = getattr(saved, "proxies", None)
    return IbmAccount(
        api_key=saved.token,
        instance=None if saved.instance == _ANY_INSTANCE else saved.instance,
        url=saved.url,
        # Not known to all supported versions of qiskit-ibm-runtime.
        region=getattr(saved, "region", None),
        plans=tuple(getattr(saved, "plans_preference", None) or ()),
        tags=tuple(getattr(saved, "tags", None) or ()),
        private_endpoint=bool(saved.private_endpoint),
        proxies=Proxies.read(proxies.to_dict() if proxies else None),
        verify=saved.verify is not False,
        channel=saved.channel,
    )


def file_path(filename: str | None) -> Path:
    # qiskit cannot make the folder of a bare name.
    return Path(filename or _seams.account_file()).expanduser().absolute()


def private_file(filename: str | None) -> Path:
    """Return the file to write; a new one is for its owner only."""
    path = file_path(filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text("{}")
    return path


def existing_file(filename: str | None) -> str:
    """Return the file to read. qiskit would make an empty one of a name with a typing error."""
    path = file_path(filename)
    if filename is not None and not path.exists():
        raise ConfigurationError(
            f"There is no file {path}. Save an account in it with RuntimeClient.save_account(…,"
            f" filename={filename!r}), or correct the name."
        )
    return str(path)


@contextmanager
def explained(doing: str, filename: str | None) -> Iterator[None]:
    """Turn what qiskit and the file system raise into an error of this package."""
    try:
        yield
    except _seams.account_errors() as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {file_path(filename)}: {getattr(exc, 'message', None) or exc}"
            " RuntimeClient.saved_accounts() shows what is saved, and RuntimeClient.save_account(…)"
            " saves one."
        ) from exc
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {file_path(filename)}: {type(exc).__name__}: {exc}. The file"
            " must be JSON as qiskit writes it."
        ) from exc
