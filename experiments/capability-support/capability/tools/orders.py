"""Orders of the shop, as the agents may look them up. The few here stand in for the shop's own system."""

from __future__ import annotations

ORDERS = {
    "4711": {"status": "with the courier", "due": "Thursday", "paid": "by card"},
    "4712": {"status": "being packed", "due": "Friday", "paid": "by invoice"},
    "4713": {"status": "returned", "due": "", "paid": "by card"},
}


def lookup_order(number: str) -> dict[str, str]:
    """Where an order is, when it is due and how it was paid, by its number."""
    return ORDERS.get(number.strip().lstrip("#"), {"status": "unknown", "due": "", "paid": ""})
