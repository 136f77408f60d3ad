"""The shop: products, orders."""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from crm.touchpoints.answers import Form, Refused, amount, created, identifier
from crm.touchpoints.arrival import arrival_of, customer_of
from crm.touchpoints.catalogue import catalogue
from crm.touchpoints.outbox import tell
from crm.touchpoints.service import service_of
from crm.touchpoints.tickets import open_ticket


async def products(request: Request) -> JSONResponse:
    """What is on sale. Looking at it begins a visit: a session in the sense of the conversion rate."""
    answer = await catalogue(
        request, "products", "SELECT sku, name, price FROM products ORDER BY sku", ("sku", "name", "price")
    )
    service, arrival = service_of(request), arrival_of(request)
    service.metrics.sessions.labels(service.release, arrival.channel, arrival.tier).inc()
    return answer


async def place_order(request: Request) -> JSONResponse:
    customer = customer_of(request)
    arrival, service = arrival_of(request), service_of(request)
    form = await Form.read(request)
    sku, quantity = form.text("sku", longest=40), form.whole("quantity", least=1, most=999)
    status = "pending" if service.loses_order() else "placed"  # pending: the defect `conversion`
    order = uuid4()
    async with service.step() as connection:
        rows = await connection.execute(
            "INSERT INTO orders (order_id, customer_id, sku, quantity, total, status)"
            " SELECT %s, %s, sku, %s, price * %s, %s FROM products WHERE sku = %s RETURNING total",
            (order, customer, quantity, quantity, status, sku),
        )
        row = await rows.fetchone()
        if row is None:
            raise Refused(422, "there is no product with this SKU", "sku")
        total = amount(row[0])
        if status == "placed":
            about = {"order_id": str(order), "sku": sku, "quantity": quantity, "total": total}
            await tell(connection, service.release, arrival, "order.placed", about)
    if status == "placed":
        service.metrics.orders.labels(service.release, arrival.channel, arrival.tier).inc()
    return created({"order_id": str(order), "status": status, "total": total})


async def show_order(request: Request) -> JSONResponse:
    """An order, to the customer who placed it."""
    customer = customer_of(request)
    order = identifier(request, "order_id")
    async with service_of(request).pool.connection() as connection:
        rows = await connection.execute(
            "SELECT status, sku, quantity, total FROM orders WHERE order_id = %s AND customer_id = %s",
            (order, customer),
        )
        row = await rows.fetchone()
    if row is None:
        raise Refused(404, "there is no order with this id")
    status, sku, quantity, total = row
    return JSONResponse(
        {"order_id": str(order), "status": status, "sku": sku, "quantity": quantity, "total": amount(total)}
    )


routes = [
    Route("/shop/products", products, methods=["GET"]),
    Route("/shop/orders", place_order, methods=["POST"]),
    Route("/shop/orders/{order_id}", show_order, methods=["GET"]),
    Route("/shop/tickets", open_ticket, methods=["POST"]),
]
