"""Who visits: customers of the stack drawn by tier, with tokens signed once and kept (signing costs CPU)."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Mapping

import jwt

from loadtests.plan import Tokens
from loadtests.profile import Population
from loadtests.visit import Customer

_LIFETIME_SECONDS = 7 * 86400


class Customers:
    """Draws customers; the key is read once and never written anywhere."""

    def __init__(self, tokens: Tokens, population: Population, key: bytes | None = None) -> None:
        """`key`: what the key's file holds, where it is not on this machine."""
        text = (tokens.key_file.read_bytes() if key is None else key).decode("ascii").strip()
        self._key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
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
        return Customer(name, tier, jwt.encode(dict(claims), self._key, algorithm="HS256"))
