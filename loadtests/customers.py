"""Who visits: customers of the stack drawn by tier, with tokens signed once and kept (signing costs CPU).

The key's file is one of two things. Symmetric (HS256; a stack on this machine): base64url text. Or a private
key as PEM, P-256 (ES256) or RSA (RS256), where whoever checks the tokens has the public one only, in a set of
keys (JWKS); a line `kid: NAME` before it says what it is called there.
"""

from __future__ import annotations

import base64
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from huidu.foundation.errors import ConfigError
from loadtests.plan import Tokens
from loadtests.profile import Population
from loadtests.visit import Customer

_LIFETIME_SECONDS = 7 * 86400
_PEM = b"-----BEGIN "
_KEY_ID = re.compile(rb"^kid:[ \t]*(\S+)[ \t]*\r?$", re.M)
_BASE64 = re.compile(rb"[A-Za-z0-9_+/-]+={0,2}")
_SYMMETRIC_BYTES, _RSA_BITS = 32, 2048
"""The least that RFC 7518 (3.2, 3.3) allows."""
_EXPECTED = (
    f"a private key as PEM without a password (P-256, or RSA of {_RSA_BITS} bits or more; before it, if the "
    f"set of keys names it, a line `kid: NAME`), or {_SYMMETRIC_BYTES} bytes or more as base64url text"
)


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs tokens, and what their header says of it. Never printed."""

    algorithm: str
    key: bytes | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(repr=False)
    key_id: str = ""

    def sign(self, claims: Mapping[str, str | int]) -> str:
        headers = {"kid": self.key_id} if self.key_id else None
        return jwt.encode(dict(claims), self.key, algorithm=self.algorithm, headers=headers)


def signer(file: Path, held: bytes | None = None) -> Signer:
    """The key of a file, or (`held`) of what that file holds elsewhere. Raises ConfigError."""
    if held is None:
        try:
            held = file.read_bytes()
        except OSError as error:
            raise _wrong(file, f"the tokens' key cannot be read ({error.strerror})") from None
    before, begin, after = held.strip().partition(_PEM)
    if begin:
        return _private(file, before, begin + after)
    if not _BASE64.fullmatch(before):
        raise _wrong(file, "the tokens' key is neither a PEM nor base64url text")
    text = before.rstrip(b"=")
    try:
        key = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        raise _wrong(file, "the tokens' key is cut off") from None
    if len(key) < _SYMMETRIC_BYTES:
        raise _wrong(file, f"the tokens' key has {len(key)} bytes")
    return Signer("HS256", key)


class Customers:
    """Draws customers; the key is read once and never written anywhere. Raises ConfigError."""

    def __init__(self, tokens: Tokens, population: Population, key: bytes | None = None) -> None:
        """`key`: what the key's file holds, where it is not on this machine."""
        self._signer = signer(tokens.key_file, key)
        self._tokens = tokens
        self._population = population
        self._known: dict[int, Customer] = {}

    def draw(self, rng: random.Random) -> Customer:
        """One customer: the tier by the population's shares, anybody of it with the same chance."""
        high = self._tokens.high
        is_high = rng.random() < self._population.high and high > 0
        number = (
            rng.randint(1, high)
            if is_high or high >= self._tokens.count
            else rng.randint(high + 1, self._tokens.count)
        )
        if number not in self._known:
            self._known[number] = self._sign(number, "high" if number <= high else "standard")
        return self._known[number]

    def _sign(self, number: int, tier: str) -> Customer:
        name = f"c-{number:06d}"
        claims: Mapping[str, str | int] = {
            "iss": self._tokens.issuer,
            "aud": self._tokens.audience,
            "sub": name,
            "tier": tier,
            "exp": int(time.time()) + _LIFETIME_SECONDS,
        }
        return Customer(name, tier, self._signer.sign(claims))


def _private(file: Path, before: bytes, pem: bytes) -> Signer:
    if b"PRIVATE KEY" not in pem:
        raise _wrong(file, "the PEM holds no private key")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise _wrong(file, "the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong(file, "the private key is not understood") from None
    named = _KEY_ID.search(before)
    key_id = named[1].decode("ascii", "replace") if named else ""
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return Signer("ES256", key, key_id)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _RSA_BITS:
        return Signer("RS256", key, key_id)
    raise _wrong(file, "the private key is of another kind")


def _wrong(file: Path, what: str) -> ConfigError:
    return ConfigError(what, file=file, expected=_EXPECTED)
