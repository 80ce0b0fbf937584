"""The module of collected functions gives what the notebook gives, or the functions are refused."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from test_collect import LOADS, collected, problems, rerun, run

FIRST = """
import functools
def times(k):
    def wrap(f):
        @functools.wraps(f)
        def inner(*a):
            return k * f(*a)
        return inner
    return wrap
double = times(2)
def once(f):
    @functools.wraps(f)
    def inner(*a):
        return f(*a)
    return inner
def sub(c):
    return type(c.__name__, (c,), {"k": 3})
"""
__all__ = ["run"]  # the fixture


def cells_of(text: str) -> list[str]:
    return [FIRST, *text.split("¶\n"), LOADS]


SAME = {
    "expression": """
U = 8
¶
def build_model(units=U * 2):
    return units
¶
U = 64
""",
    "by name": """
C = {'u': [8]}
¶
def build_model(a=1, *, u=C['u'][0], b=2):
    return a, u, b
¶
C['u'] = [64]
""",
    "loop": """
for u in (1, 2):
    def build_model(n=u + 0):
        return n
    if u == 1:
        keep = build_model
build_model = keep
""",
    "variable around": """
n = 1
def make(n):
    def build_model(u=n * 2, v=(n, 1)):
        return u, v
    return build_model
¶
build_model = make(5)
""",
    "name with two values": """
n = 1
def build_model(a=n):
    return a, n
n = 2
""",
    "alias": """
def build_model(a=1):
    return a
¶
build_model = build_model
P = build_model
""",
    "class": """
f = 2
class Cfg:
    units = 8 * f
    more = [u for u in (1, 2)]
def build_model():
    return Cfg.units
""",
    "if": """
if True:
    class Cfg:
        units = 8
else:
    class Cfg:
        units = 64
def build_model():
    return Cfg.units
""",
    "factories": """
def small():
    class Cfg:
        units = 8
    return Cfg
def large():
    class Cfg:
        units = 64
    return Cfg
¶
Cfg = small()
def build_model():
    return Cfg.units
""",
    "older base": """
class A:
    units = 8
¶
class Cfg(A):
    pass
¶
class A:
    units = 64
¶
def build_model():
    return Cfg.units
""",
    "one list, two names": """
A = []
B = A
def build_model():
    A.append(1)
    return B
""",
    "import as": """
import xml
import xml.dom as D
def build_model():
    return xml.__name__, D.__name__
""",
    "cached_property": """
import functools
n = 1
def make(n):
    class A:
        @functools.cached_property
        def u(self):
            return n
    def build_model():
        return A().u
    return build_model
build_model = make(5)
""",
    "missing module": """
try:
    import no_such_module as m
except ImportError:
    m = None
def build_model():
    return m
""",
    "comprehension": """
def h(i):
    return i
¶
def build_model(u=[h(i) for i in (1, 2)], f=lambda: h(3)):
    return u, f()
¶
def h(i):
    return i
""",
    "annotation": """
class Cfg:
    u = 1
¶
def build_model(c: Cfg = None):
    return Cfg.u
¶
class Cfg:
    u = 1
""",
    "numbers": """
float = set = int
X = 1e999, -1e999, complex(-0.0, 1e999), [s for s in [{1}] if s.pop()]
def build_model():
    return repr(X)
""",
    "enum with __new__": """
import enum
class E(int, enum.Enum):
    A = 1
    def __new__(cls, v):
        o = int.__new__(cls, v * 2)
        o._value_ = v * 2
        return o
def build_model():
    return E.A.value
""",
    "ligature": """
def ﬁt():
    return 3
build_model = ﬁt
""",
    "decorators": """
@once
@double
def build_model():
    return 3
""",
    "enum and dataclass": """
import enum, dataclasses
U = 3
class E(enum.Enum):
    A = U
    B = enum.auto()
@dataclasses.dataclass(slots=True)
class D:
    u: int = U
    v: list = dataclasses.field(default_factory=list)
    e: object = E.A
def build_model():
    return E.B.value, D().u, D().v, D().e.value
""",
    "class attribute": """
U = 8
class Cfg:
    units = U
def build_model():
    return Cfg.units
U = 64
""",
    "dataclass default": """
from dataclasses import dataclass
U = 8
@dataclass
class Cfg:
    units: int = U + 0
def build_model():
    return Cfg.units
¶
U = 64
""",
    "default of a method": """
U = 8
class Cfg:
    units = 1
    def f(self, u=U):
        return u
def build_model():
    return Cfg().f()
¶
U = 64
""",
}


@pytest.mark.parametrize("name", SAME)
def test_the_module_gives_what_the_notebook_gives(run: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cells = run(*cells_of(SAME[name]))
    found = collected(cells)
    monkeypatch.setitem(sys.modules, "notebook", ModuleType("notebook"))  # dataclasses look for their module
    assert rerun(found)["build_model"]() == cells["build_model"]()


REFUSED = [
    (
        "`reg`, which a has used when it was defined, changes `NAMES`, which the module would do once more; keep",
        """
NAMES = []
def reg(f):
    NAMES.append(f.__name__)
    return f
@reg
def a(): ...
def build_model():
    return a(), NAMES
""",
    ),
    (
        "`A` is changed at <cell 2>:4, after its definition",
        """
import abc
class A(abc.ABC):
    pass
A.register(int)
def build_model():
    return isinstance(3, A)
""",
    ),
    (
        "the class Cfg: its text does not give it",
        """
from dataclasses import dataclass
@dataclass
class Cfg:
    units: int = 1
def patch(c):
    c.more = 5
patch(Cfg)
def build_model():
    return Cfg.more
""",
    ),
    (
        "build_model: `K`, which build_model has used when it was defined, changes at <cell 3>:1; define build_model",
        """
K = 2
@times(K)
def build_model():
    return 10
¶
K = 3
""",
    ),
    (
        "`once`, which build_",
        """
@once
def build_model(): ...
¶

import functools
def times(k):
    def wrap(f):
        @functools.wraps(f)
        def inner(*a):
            return k * f(*a)
        return inner
    return wrap
double = times(2)
def once(f):
    @functools.wraps(f)
    def inner(*a):
        return 1 + f(*a)
    return inner
def sub(c):
    return type(c.__name__, (c,), {"k": 3})
""",
    ),
    (
        "<cell 3>:2: Cfg: `K`, which Cfg has used when it was defined, changes at <cell 3>:3",
        """
class M(type):
    def __new__(m, n, b, d, k=0):
        return super().__new__(m, n, b, d | {'units': k})
    def __init__(c, *a, k=0): ...
¶
K = 4
class Cfg(metaclass=M, k=K): ...
K = 5
¶
def build_model():
    return Cfg.units
""",
    ),
    (
        "<cell 2>:3: build_model: `n` is a variable of the function around it, whose value is not kept; use it",
        """
n = 1
def make(n):
    @times(n)
    def build_model():
        return 10
    return build_model
¶
build_model = make(5)
""",
    ),
    (
        "<cell 2>:4: Cfg: `n` is a",
        """
n = 1
def make(n):
    class Cfg:
        units = [object, n]
    return Cfg
Cfg = make(5)
def build_model():
    return Cfg.units
""",
    ),
    (
        "`scaled` is `act`, wrapped by",
        """
@once
def act(x): ...
scaled = double(act)
def build_model():
    scaled(1)
""",
    ),
    (
        "is `build_model`, wrapped by a call; w",
        """
@double
def build_model(): ...
¶
build_model = double(build_model)
""",
    ),
    (
        "the class Cfg: its text does not give it",
        """
class Cfg:
    units = 1
Cfg = sub(Cfg)
def build_model():
    return Cfg.units
""",
    ),
    (
        "the class Cfg: its text does not give it, because one of them was changed after",
        """
import dataclasses
class Cfg:
    units: int = 1
Cfg = dataclasses.dataclass(Cfg)
def build_model():
    return Cfg.units
""",
    ),
    (
        "`Cfg` is bound to what a call returns at <cell 2>:5; write the call above the definition, with @",
        """
from dataclasses import dataclass
@dataclass
class A:
    units: int = 1
Cfg = dataclass(frozen=True)(A)
def build_model():
    return Cfg.units
""",
    ),
    (
        "the class Cfg: its text does not give it",
        """
class Cfg:
    units = 8
¶
Cfg.units = 16
¶
def build_model():
    return Cfg.units
""",
    ),
    (
        "the class Cfg: its text does not give it",
        """
class Cfg:
    units = [8]
¶
Cfg.units.append(9)
¶
def build_model():
    return Cfg.units
""",
    ),
    (
        "`Cfg` is changed at <cell 3>:1, after its definition; write that into its definition",
        """
class Cfg:
    units = 1
    def f(self): ...
def f(self):
    return 2
¶
Cfg.f = f
¶
def build_model():
    return Cfg.units
""",
    ),
    (
        "`build_model` is changed at <cell 2>:3",
        """
def build_model(a=1):
    return a
build_model.__defaults__ = (5,)
""",
    ),
    (
        "`h` has attributes that its definition does not give: k",
        """
def h(): ...
def build_model():
    return h.k
vars(h)['k'] = 3
""",
    ),
    (
        "`h` is changed at <cell 2>:4, after its definition",
        """
import functools
@functools.singledispatch
def h(x): ...
@h.register
def _(x: int): ...
¶
def build_model():
    return h(2)
""",
    ),
    (
        "<cell 2>:2: build_model: calls `globals()`, which are others in w",
        """
def build_model():
    return globals()['X']
""",
    ),
    (
        "<cell 2>:2: build_model: compares `__name__` with '__main",
        """
def build_model():
    return __name__ == '__main__'
""",
    ),
    (
        "...` is a list, which is no code",
        """
X = []
for _ in range(2000):
    X = [X]
def build_model():
    return X
""",
    ),
    (
        "`complex` means two things",
        """
X = 1j
complex = 3
def build_model():
    return X, complex
""",
    ),
]


@pytest.mark.parametrize(("problem", "text"), REFUSED)
def test_what_the_module_would_not_give_is_refused(run: Any, problem: str, text: str) -> None:
    found = problems(run(*cells_of(text)))
    assert problem in found[0], found
