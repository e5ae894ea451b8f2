"""The users' tokens, and the access tokens that replace them for a limited time.

IBM's clients log in with their token once and then send the access token that they received.
Nothing is stored: the signing key is derived from the user's token, so access tokens survive a
restart of the service and become invalid with the token.
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
    """Identifies users by their tokens, and issues access tokens.

    Args:
        owners: The users by their tokens.
        clock: The clock by which access tokens expire.
    """

    def __init__(self, owners: Mapping[str, Owner], clock: Clock) -> None:
        # By digest, so that the time of a look-up reveals nothing about the tokens.
        self._owners = {_digest(token): owner for token, owner in owners.items()}
        self.access = AccessTokens({owner: digest for digest, owner in self._owners.items()}, clock)

    def identify(self, token: str) -> Owner:
        """Return the owner of a token or access token.

        Raises:
            AuthenticationError: The token is invalid.
        """
        return self._find(token) or self.access.read(token, Purpose.API).owner

    def log_in(self, token: str) -> Owner:
        """Return the owner of a token; access tokens are refused.

        Raises:
            AuthenticationError: The token is invalid.
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
    """The use that an access token permits."""

    API = "api"
    RESULT = "result"


@dataclass(frozen=True)
class Access:
    """The content of an access token.

    Attributes:
        subject: The only object that it gives access to; empty for everything the user may do.
    """

    owner: Owner
    subject: str
    expires_at: int


class AccessTokens:
    """Issues access tokens and reads them.

    Args:
        shared_secrets: For each user, a secret known only to the service and that user.
        clock: The clock by which access tokens expire.
    """

    def __init__(self, shared_secrets: Mapping[Owner, bytes], clock: Clock) -> None:
        self._keys = {
            owner.user: (owner, hmac.digest(secret, b"access token", hashlib.sha256))
            for owner, secret in shared_secrets.items()
        }
        self._clock = clock

    def issue(self, owner: Owner, purpose: Purpose, *, seconds: int, subject: str = "") -> str:
        """Return a JSON web token with the times of issue and expiry that IBM's clients read."""
        import jwt  # takes 0.4 s; services without logins need not wait for it

        now = int(self._clock.now().timestamp())
        claims = {
            "sub": owner.user,
            "aud": purpose.value,
            "iat": now,
            "exp": now + seconds,
            "subject": subject,
            "jti": secrets.token_hex(8),  # two logins within one second have different tokens
        }
        return jwt.encode(claims, self._keys[owner.user][1], algorithm=_ALGORITHM)

    def read(self, token: str, purpose: Purpose) -> Access:
        """Return the content of an access token.

        Raises:
            AuthenticationError: The token is not from this service, has expired, or is for
                another purpose.
        """
        if token.count(".") != 2:
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
                # Times are compared below: the library knows only the machine's clock.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
        except (jwt.InvalidTokenError, KeyError) as exc:
            raise AuthenticationError(REFUSED) from exc
        if int(claims["exp"]) <= self._clock.now().timestamp():
            raise AuthenticationError(REFUSED)
        return Access(owner, str(claims.get("subject", "")), int(claims["exp"]))
