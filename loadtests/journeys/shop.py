"""The shop: a customer looks at the products, orders one, and looks at the order."""

from __future__ import annotations

from typing import Any

from loadtests.journeys.tickets import CREATED, open_ticket
from loadtests.visit import Answer, Visit


def _products(visit: Visit) -> list[dict[str, Any]]:
    answer = visit.step("see products", "GET", "/shop/products", expect=(200,))
    return products_of(answer)


def products_of(answer: Answer) -> list[dict[str, Any]]:
    """What is on sale; fails the step where there is nothing, or something without a price."""
    (products,) = answer.fields("products")
    answer.require(isinstance(products, list) and len(products) > 0, "no products")
    answer.require(all({"sku", "name", "price"} <= set(each) for each in products), "a product without price")
    found: list[dict[str, Any]] = products
    return found


def browse(visit: Visit) -> None:
    """Look, and leave."""
    _products(visit)


def order(visit: Visit) -> None:
    """Look, order, and find the order as it was placed."""
    product = visit.rng.choice(_products(visit))
    sku, quantity = product["sku"], visit.rng.randint(1, 3)
    answer = visit.step(
        "place order", "POST", "/shop/orders", json_body={"sku": sku, "quantity": quantity}, expect=CREATED
    )
    number, status, total = answer.fields("order_id", "status", "total")
    answer.require(status == "placed", f"status {status!r} instead of 'placed'")
    price = product["price"]
    answer.require(_costs(total, price, quantity), f"{quantity} at {price} each cost {total}")
    answer = visit.step("see order", "GET", f"/shop/orders/{number}", expect=(200,))
    body = answer.json()
    wanted = {"order_id": number, "sku": sku, "quantity": quantity, "total": total}
    wrong = [name for name, value in wanted.items() if body.get(name) != value]
    answer.require(not wrong, f"the order differs from the one placed: {', '.join(wrong)}")


def _costs(total: Any, price: Any, quantity: int) -> bool:
    try:
        return abs(float(total) - float(price) * quantity) < 0.005
    except (TypeError, ValueError):
        return False


def ticket(visit: Visit) -> None:
    """Open a ticket in the shop."""
    open_ticket(visit, "shop")
