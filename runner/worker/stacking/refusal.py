"""The error of what no stack can have."""

from __future__ import annotations


class NotVectorizableError(Exception):
    """An operation has no form over several models; the message has its name."""
