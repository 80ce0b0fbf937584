"""What an ignored call returns, in place of whatever the real one would have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Ignored(str):
    """Takes any use of it as an object, a number, a text, a table or a context, and does nothing.

    A text, so that whatever writes texts takes it too: JSON, paths, `str.join`.
    """

    __slots__ = ()

    def __new__(cls, *_: Any) -> Ignored:
        """Its text says what became of the call."""
        return str.__new__(cls, "ignored")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    # A text's methods that tables and records have too.
    count = index = join = replace = title = property(lambda self: self)

    def __setattr__(self, name: str, value: object) -> None:
        """Nothing is kept."""

    def __call__(self, *_: Any, **__: Any) -> Ignored:
        """Nothing is done."""
        return self

    def __enter__(self) -> Ignored:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing has begun."""

    def __getitem__(self, _: Any) -> Ignored:
        return self

    def __setitem__(self, _: Any, __: Any) -> None:
        """Nothing is kept."""

    def __delitem__(self, _: Any) -> None:
        """Nothing is there."""

    def __contains__(self, _: object) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _differs(self, _: Any) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _differs

    def __format__(self, _: str) -> str:
        return str(self)

    def __int__(self) -> int:
        return 0

    __index__ = __int__

    def __float__(self) -> float:
        return 0.0

    def _itself(self, *_: Any) -> Ignored:
        return self

    __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _itself
    __pow__ = __rpow__ = __mod__ = __divmod__ = __neg__ = __pos__ = __abs__ = __round__ = _itself

    def __add__(self, other: Any) -> Any:
        return str.__add__(self, other) if isinstance(other, str) and other is not self else self

    def __radd__(self, other: Any) -> Any:
        return str.__add__(other, self) if isinstance(other, str) else self

    def __rmod__(self, other: Any) -> Any:
        return str.__mod__(other, (self,)) if isinstance(other, str) else self
