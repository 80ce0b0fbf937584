"""What an ignored call returns in place of a real result."""

from __future__ import annotations

from collections.abc import Iterator


class Ignored(str):
    """Accepts any use as an object, a number, a text, a table or a context, and does nothing.

    It is a text, so that what writes texts accepts it too: JSON, paths, `str.join`.
    """

    __slots__ = ()

    def __new__(cls, *_: object) -> Ignored:
        """Its text says what became of the call."""
        return str.__new__(cls, "ignored")

    def __getattr__(self, name: str) -> Ignored:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    # Methods of a text that tables and records have too, with another meaning.
    count = index = join = replace = title = property(lambda self: self)

    def __setattr__(self, name: str, value: object) -> None:
        """Keeps nothing."""

    def __call__(self, *_: object, **__: object) -> Ignored:
        """Does nothing."""
        return self

    def __enter__(self) -> Ignored:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends nothing."""

    def __getitem__(self, _: object) -> Ignored:
        return self

    def __setitem__(self, _: object, __: object) -> None:
        """Keeps nothing."""

    def __delitem__(self, _: object) -> None:
        """Removes nothing."""

    def __contains__(self, _: object) -> bool:
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _differs(self, _: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _differs

    def __format__(self, _: str) -> str:
        return str(self)

    def __int__(self) -> int:
        return 0

    __index__ = __int__

    def __float__(self) -> float:
        return 0.0

    def _itself(self, *_: object) -> Ignored:
        return self

    __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _itself
    __pow__ = __rpow__ = __mod__ = __divmod__ = __neg__ = __pos__ = __abs__ = __round__ = _itself

    def __add__(self, other: object) -> str:
        return str.__add__(self, other) if isinstance(other, str) and other is not self else self

    def __radd__(self, other: object) -> str:
        return str.__add__(other, self) if isinstance(other, str) else self

    def __rmod__(self, other: object) -> str:
        return str.__mod__(other, (self,)) if isinstance(other, str) else self
