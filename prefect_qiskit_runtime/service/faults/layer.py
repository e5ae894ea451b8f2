"""The layer that every request passes before the app: the journal and request scenarios."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_qiskit_runtime.errors import AuthenticationError
from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.faults.account import AccountFaults
from prefect_qiskit_runtime.service.faults.book import Entry, FaultBook, RequestFacts
from prefect_qiskit_runtime.service.faults.connections import Connections
from prefect_qiskit_runtime.service.faults.journal import Journal, Record
from prefect_qiskit_runtime.service.faults.requests import Exchange, cut, keep_silent, refuse
from prefect_qiskit_runtime.service.faults.scenarios import Cut, ExpireTokens, Refuse, Silence
from prefect_qiskit_runtime.service.http.auth import token_of
from prefect_qiskit_runtime.service.http.gate import without_prefix
from prefect_qiskit_runtime.service.problem import error_response

CONTROL_PREFIX = "/fault-mode"

_EXPIRED = "The token has expired. Log in again."


class FaultLayer:
    """ASGI middleware around a whole service.

    Requests to the control endpoints pass unchanged and are not recorded in the journal.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        book: FaultBook,
        journal: Journal,
        account: AccountFaults,
        authenticator: Authenticator,
        connections: Connections,
        clock: Clock,
    ) -> None:
        self._app = app
        self._book = book
        self._journal = journal
        self._account = account
        self._authenticator = authenticator
        self._connections = connections
        self._clock = clock
        self._used: dict[str, set[bytes]] = {}
        self._expired: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or apply a scenario to it."""
        is_request = scope["type"] in ("http", "websocket")
        path = without_prefix(scope["path"]) if is_request else ""
        if not is_request or path.startswith(f"{CONTROL_PREFIX}/"):
            await self._app(scope, receive, send)
            return
        token = token_of(HTTPConnection(scope)) or ""
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        facts = RequestFacts(method, path, self._user_of(token))
        record = self._journal.begin(
            user=facts.user,
            method=facts.method,
            path=facts.path,
            query=scope["query_string"].decode("latin-1"),
            headers=scope["headers"],
        )
        exchange = _record_exchange(Exchange(self._app, scope, receive, send), record)
        entry = self._book.for_request(facts)
        if entry is not None:
            record.scenario_id = entry.id
            if isinstance(entry.scenario, ExpireTokens):
                self._expired |= self._used.pop(facts.user or "", set()) | {_digest(token)}
        if _digest(token) in self._expired:
            await exchange.answer(error_response(AuthenticationError(_EXPIRED)))
            return
        if facts.user is not None and self._is_access_token(token):
            self._used.setdefault(facts.user, set()).add(_digest(token))
        await self._act(entry, exchange, facts, record)

    async def _act(
        self, entry: Entry | None, exchange: Exchange, facts: RequestFacts, record: Record
    ) -> None:
        scenario: Any = None if entry is None else entry.scenario
        if isinstance(scenario, Refuse):
            await refuse(exchange, scenario)
        elif isinstance(scenario, Cut):
            record.cut = True
            await cut(exchange, scenario, self._connections)
        elif isinstance(scenario, Silence) and entry is not None:
            await keep_silent(exchange, scenario, self._clock, entry.removed)
        else:
            await self._answer(exchange, facts, record)

    async def _answer(self, exchange: Exchange, facts: RequestFacts, record: Record) -> None:
        async with self._account.serialize(facts):
            refusal = await self._account.refusal(facts)
            if refusal is not None:
                record.scenario_id, response = refusal
                await exchange.answer(response)
                return
            scenario_id, scope = self._account.narrow_search(facts, exchange.scope)
            record.scenario_id = record.scenario_id or scenario_id
            await self._account.answer(replace(exchange, scope=scope), facts)

    def _user_of(self, token: str) -> str | None:
        try:
            return self._authenticator.identify(token).user
        except AuthenticationError:
            return None

    def _is_access_token(self, token: str) -> bool:
        try:
            self._authenticator.log_in(token)
        except AuthenticationError:
            return True
        return False


def _record_exchange(exchange: Exchange, record: Record) -> Exchange:
    """Return the exchange with the journal recording both directions."""

    async def receive() -> Message:
        message = await exchange.receive()
        if message["type"] == "http.request":
            record.read(message.get("body", b""))
        return message

    async def send(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            record.status = message["status"]
        elif message["type"] == "websocket.accept":
            record.status = 101
        await exchange.send(message)

    return replace(exchange, receive=receive, send=send)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
