"""Tasks in transactions of Django: `within=` a connection or its alias, and detection of `atomic()`."""

from deferq.contrib.django.joining import transaction, watch

__all__ = ["transaction", "watch"]
