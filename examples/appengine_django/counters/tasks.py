"""What is done later. Nothing here asks for a request: a worker calls it."""

from __future__ import annotations

import os

from django.db import connection, transaction
from django.db.models import F

from counters.models import Counter
from deferq import current_task

#: Without it an addition is made once or more: a worker may die after the commit and before it has reported.
EXACTLY_ONCE = os.environ.get("EXACTLY_ONCE", "yes") == "yes"


def add_later(name: str, amount: int) -> None:
    """Add, and succeed, in one commit."""
    with transaction.atomic():
        Counter.objects.update_or_create(
            name=name, defaults={"count": F("count") + amount}, create_defaults={"count": amount}
        )
        if EXACTLY_ONCE:
            current_task().settle_within(connection)
