"""Who has which token, and the access tokens that replace a user's token for a time.

IBM's clients log in with their token once and then send what they got for it. Nothing is stored:
the signature's key follows from the user's token, so that access tokens outlive a restart of the
service and end with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prefect_qiskit_runtime.errors import AuthenticationError
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.store.records import Owner


class Authenticator:
    """Knows who has which token, and gives out access tokens that stand in for it for a time.

    Args:
        owners: The users by their tokens.
        clock: What access tokens expire by.
    """

    def __init__(self, owners: Mapping[str, Owner], clock: Clock) -> None:
        # By digest: how long a look-up takes says nothing of the tokens themselves.
        self._owners = {_digest(token): owner for token, owner in owners.items()}
        self.access = AccessTokens({owner: digest for digest, owner in self._owners.items()}, clock)

    def identify(self, token: str) -> Owner:
        """Return whose token, or access token, it is.

        Raises:
            AuthenticationError: Nobody's.
        """
        return self._find(token) or self.access.read(token, Purpose.API).owner

    def log_in(self, token: str) -> Owner:
        """Return whose token it is; an access token will not do.

        Raises:
            AuthenticationError: Nobody's.
        """
        owner = self._find(token)
        if owner is None:
            raise AuthenticationError(REFUSED)
        return owner

    def _find(self, token: str) -> Owner | None:
        return self._owners.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


REFUSED = "The token was refused. Log in again, or correct the block."
_ALGORITHM = "HS256"
_REQUIRED = ["sub", "aud", "iat", "exp"]


class Purpose(StrEnum):
    """What an access token is good for."""

    API = "api"
    RESULT = "result"


@dataclass(frozen=True)
class Access:
    """What an access token says.

    Attributes:
        subject: The one thing that it opens; empty for all that the user may do.
    """

    owner: Owner
    subject: str
    expires_at: int


class AccessTokens:
    """Gives out access tokens and reads them.

    Args:
        known: What only the service and one user can know, by user.
        clock: What they expire by.
    """

    def __init__(self, known: Mapping[Owner, bytes], clock: Clock) -> None:
        self._keys = {
            owner.user: (owner, hmac.digest(secret, b"access token", hashlib.sha256))
            for owner, secret in known.items()
        }
        self._clock = clock
        self._ended: dict[bytes, int] = {}

    def issue(self, owner: Owner, purpose: Purpose, *, seconds: int, subject: str = "") -> str:
        """Return a JSON web token with times of issue and expiry, as IBM's clients read them."""
        import jwt  # takes 0.4 s, which services that nobody logs in to need not wait for

        now = int(self._clock.now().timestamp())
        claims = {
            "sub": owner.user,
            "aud": purpose.value,
            "iat": now,
            "exp": now + seconds,
            "subject": subject,
            "jti": secrets.token_hex(8),  # so that of two logins each can end by itself
        }
        return jwt.encode(claims, self._keys[owner.user][1], algorithm=_ALGORITHM)

    def read(self, token: str, purpose: Purpose) -> Access:
        """Return what an access token says.

        Raises:
            AuthenticationError: It is not from here, has expired or ended, or is for another
                purpose.
        """
        if token.count(".") != 2 or _digest(token) in self._ended:
            raise AuthenticationError(REFUSED)
        import jwt

        try:
            user = str(jwt.decode(token, options={"verify_signature": False}).get("sub"))
            owner, key = self._keys[user]
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=purpose.value,
                # Times are compared below: the library knows the machine's clock only.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
        except (jwt.InvalidTokenError, KeyError) as exc:
            raise AuthenticationError(REFUSED) from exc
        if int(claims["exp"]) <= self._clock.now().timestamp():
            raise AuthenticationError(REFUSED)
        return Access(owner, str(claims.get("subject", "")), int(claims["exp"]))

    def end(self, token: str, access: Access) -> None:
        """Take an access token back, for as long as this process lives."""
        now = self._clock.now().timestamp()
        self._ended = {key: until for key, until in self._ended.items() if until > now}
        self._ended[_digest(token)] = access.expires_at
