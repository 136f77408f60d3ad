"""The journeys that ship, by the name a profile gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loadtests.journeys import call, shop, web, wechat
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
}
