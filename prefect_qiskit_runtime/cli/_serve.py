"""The command `serve`: the team service in the foreground."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from prefect_qiskit_runtime.service.http.server import TlsFiles

_TOKEN_VARIABLE = "PREFECT_QISKIT_RUNTIME_TOKEN_"  # noqa: S105 - the name of a variable
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


_Home = Annotated[Path, typer.Option(help="The service's folder, on a local disk.")]
_Users = Annotated[
    list[str],
    typer.Option(
        metavar="NAME[:TOKEN]",
        help="A user; repeat for several. Without a token here, it is read from the variable"
        f" {_TOKEN_VARIABLE}<NAME>, which process listings do not show.",
    ),
]
_Host = Annotated[str, typer.Option(help="Host name or address to listen on.")]
_Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")]
_Tls = Annotated[
    str | None,
    typer.Option(
        metavar="self-signed|CERT:KEY",
        help="Serve over TLS, with a certificate created on first use or from two PEM files.",
    ),
]
_Images = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PYTHON",
        help="A Python environment in which jobs may run; repeat for several.",
    ),
]
_FaultMode = Annotated[
    bool,
    typer.Option(
        "--fault-mode",
        help="Let tests make the service fail, move its clock and read its requests."
        " On loopback only.",
    ),
]
_Imitate = Annotated[
    str | None,
    typer.Option("--as", metavar="ibm", help="In fault mode: behave as IBM's cloud does today."),
]


def serve(
    *,
    home: _Home,
    user: _Users,
    host: _Host = "127.0.0.1",
    port: _Port = 8642,
    tls: _Tls = None,
    image: _Images = None,
    fault_mode: _FaultMode = False,
    imitate: _Imitate = None,
) -> None:
    """Run a team service in the foreground until SIGTERM or Ctrl-C.

    Prints `ready URL` once it accepts connections.
    """
    from prefect_qiskit_runtime.service.http.server import configure_logging
    from prefect_qiskit_runtime.service.own_process import remove_from_environment
    from prefect_qiskit_runtime.service.team import TeamOptions, run
    from prefect_qiskit_runtime.settings import Settings

    options = TeamOptions(
        home=home,
        tokens=_tokens(user),
        host=host,
        port=port,
        tls=_tls(tls),
        images=dict(_image(text) for text in image or ()),
        fault_mode=fault_mode,
        imitate=_imitated(imitate),
    )
    remove_from_environment([name for name in os.environ if name.startswith(_TOKEN_VARIABLE)])
    configure_logging()
    run(options, Settings(), ready=lambda url: print(f"ready {url}", flush=True))


def _tokens(users: list[str]) -> dict[str, str]:
    """Return the tokens by user; duplicates are refused, so argument order never matters."""
    tokens: dict[str, str] = {}
    for text in users:
        name, _, token = text.partition(":")
        if not _NAME.fullmatch(name):
            raise typer.BadParameter(f"{name!r} is not a valid user name.", param_hint="--user")
        token = token or os.environ.get(_variable(name), "")
        if not token:
            raise typer.BadParameter(
                f"User {name} has no token: write {name}:TOKEN, or set {_variable(name)}.",
                param_hint="--user",
            )
        if name in tokens or token in tokens.values():
            raise typer.BadParameter(
                f"User {name}, or their token, is given twice.", param_hint="--user"
            )
        tokens[name] = token
    return tokens


def _variable(name: str) -> str:
    return _TOKEN_VARIABLE + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _tls(text: str | None) -> str | TlsFiles | None:
    from prefect_qiskit_runtime.service.http.server import TlsFiles
    from prefect_qiskit_runtime.service.team import SELF_SIGNED

    if text is None or text == SELF_SIGNED:
        return text
    certificate, separator, key = text.rpartition(":")
    if not separator:
        raise typer.BadParameter(
            f"{text!r} is neither {SELF_SIGNED} nor CERT:KEY.", param_hint="--tls"
        )
    return TlsFiles(Path(certificate), Path(key))


def _imitated(name: str | None) -> Literal["ibm"] | None:
    if name is None or name == "ibm":
        return name
    raise typer.BadParameter(f"{name!r}: only ibm can be imitated.", param_hint="--as")


def _image(text: str) -> tuple[str, Path]:
    name, separator, interpreter = text.partition("=")
    # Absolute but not resolved: a virtual environment's `python` is a link that leaves it.
    path = Path(interpreter).expanduser().absolute()
    if not (name and separator) or not (path.is_file() and os.access(path, os.X_OK)):
        raise typer.BadParameter(
            f"{text!r} is not NAME=PYTHON with an interpreter's path.", param_hint="--image"
        )
    return name, path
