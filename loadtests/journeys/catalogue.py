"""The journeys that ship, by the name a profile gives them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.errors import ConfigError
from loadtests.journeys import business, call, shop, web, wechat
from loadtests.visit import Visit


@dataclass(frozen=True, slots=True)
class Journey:
    """`steps`: requests in a visit where all goes well; `known`: whether the visitor must be a customer."""

    run: Callable[[Visit], None]
    steps: int
    known: bool = True


CATALOGUE: Mapping[str, Journey] = {
    "web-lead": Journey(web.lead, 1, known=False),
    "web-chat": Journey(web.chat, 3, known=False),
    "web-ticket": Journey(web.ticket, 1),
    "wechat-browse": Journey(wechat.browse, 2),
    "wechat-ticket": Journey(wechat.ticket, 1),
    "shop-browse": Journey(shop.browse, 1),
    "shop-order": Journey(shop.order, 3),
    "shop-ticket": Journey(shop.ticket, 1),
    "call-log": Journey(call.call, 2),
    "call-ticket": Journey(call.ticket, 1),
    "priority-ticket": Journey(business.priority_ticket, 4),
    "lead-to-order": Journey(business.lead_to_order, 7),
    "order-or-call": Journey(business.order_or_call, 3),
}


def catalogue(file: Path | None, environment: Mapping[str, str] | None = None) -> Mapping[str, Journey]:
    """The journeys that ship, and those of a user's Python file: its `JOURNEYS`, names to `Journey`.

    `environment`: where what the file states as `NEEDS` (names of variables) must be, None: not looked at.
    Raises ConfigError where the file cannot be run, holds no such thing, or lacks what it needs.
    """
    if file is None:
        return CATALOGUE
    spec = importlib.util.spec_from_file_location(f"huidu_journeys_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ConfigError("there is no such Python file of journeys", file=file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is a mistake in it
        raise ConfigError(f"cannot be run: {type(error).__name__}: {error}", file=file) from None
    found = getattr(module, "JOURNEYS", None)
    if not isinstance(found, Mapping) or not all(isinstance(each, Journey) for each in found.values()):
        raise ConfigError(
            "holds no journeys",
            file=file,
            expected='JOURNEYS = {"name": Journey(function of a Visit, steps=1, known=False)}',
        )
    if environment is not None:
        _check_needs(getattr(module, "NEEDS", ()), environment, file)
    return {**CATALOGUE, **found}


def _check_needs(needs: object, environment: Mapping[str, str], file: Path) -> None:
    if not isinstance(needs, tuple | list) or not all(isinstance(each, str) for each in needs):
        raise ConfigError(
            f"NEEDS is {needs!r}"[:200], file=file, expected='names of variables: NEEDS = ("API_TOKEN",)'
        )
    if missing := [each for each in needs if each not in environment]:
        raise ConfigError(
            f"needs {', '.join(missing)} in the environment",
            file=file,
            remedy="set it (what it holds is written nowhere); nothing was sent",
        )
