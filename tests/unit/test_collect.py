"""An experiment's functions become a module that works alone, or an error says what cannot be carried."""

from __future__ import annotations

import ast
import builtins
import importlib
import linecache
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.experiment.collect import Collected, collect
from runner.experiment.signature import parse_python, read_signature
from runner.experiment.source import with_neighbours

LOADS = "def load_data():\n    return 1\n"
Cells = dict[str, Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs texts as a notebook runs its cells; returns the variables."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(linecache, "cache", dict(linecache.cache))

    def run_cells(*texts: str) -> Cells:
        for text in texts:
            number = len([name for name in linecache.cache if name.startswith("<cell")]) + 1
            lines = textwrap.dedent(text).lstrip("\n")
            name = f"<cell {number}>"
            linecache.cache[name] = (len(lines), None, lines.splitlines(keepends=True), name)
            exec(compile(lines, name, "exec", dont_inherit=True), vars(main))
        return vars(main)

    return run_cells


def collected(cells: Cells, **functions: Any) -> Collected:
    return collect({"load_data": cells.get("load_data"), "build_model": cells.get("build_model"), **functions})


def rerun(found: Collected) -> Cells:
    """The variables of the module in another process, as far as that can be had here."""
    read_signature(parse_python(found.text, found.name), found.name)
    alone: Cells = {"__name__": "notebook"}
    exec(compile(found.text, found.name, "exec", dont_inherit=True), alone)
    return alone


def problems(cells: Cells, **functions: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        collected(cells, **functions)
    return list(caught.value.problems)


def test_functions_bring_the_functions_and_constants_that_they_name(run: Any) -> None:
    cells = run(
        "UNITS, RATE = 8, float('inf')\nSHAPE = {'rows': (1,), 'names': ['a', {1}], 'more': frozenset(), 'none': None}",
        "def double(n):\n    return 2 * n\n\ndef load_data(rows: int = UNITS):\n    return double(rows), SHAPE",
        "def build_model(units: int = UNITS):\n    return double(units), RATE",
    )
    found = collected(cells)
    assert found.name == "notebook.py"
    assert found.root == Path.cwd()
    assert found.text.count("def double") == 1
    assert "# a cell, line 1\ndef double" in found.text
    alone = rerun(found)
    assert alone["load_data"](3) == (6, cells["SHAPE"])
    assert alone["build_model"]() == (16, float("inf"))
    signature = read_signature(parse_python(found.text, "x.py"), "x.py")
    assert signature.parameters["units"].default == 8


def test_what_local_names_hide_is_not_carried(run: Any) -> None:
    cells = run(
        "x = open('/dev/null'); y = z = w = e = i = x",
        """
        def load_data(x=1):
            def inner(y, *z, **w):
                return [i for i in range(3)], {x: i for x, i in [(1, 2)]}, lambda e: e
            try:
                y = 1
            except ValueError as e:
                raise e
            with open("/dev/null") as w:
                pass
            for z in (1,):
                if (i := 2) > 1:
                    import os as x
            return y, z, i, x.sep, inner(1)[:2]

        def build_model():
            return 1
        """,
    )
    assert rerun(collected(cells))["load_data"]() == (1, 1, 2, "/", ([0, 1, 2], {1: 2}))


def test_imports_are_written_as_the_user_has_written_them(run: Any) -> None:
    cells = run(
        """
        import collections.abc, json as js, os.path
        from math import *
        from functools import partial as part, reduce
        from os import path
        import xml.etree.ElementTree as tree
        """,
        """
        def load_data():
            return js, sqrt(4), part, collections.abc.Mapping
        def build_model():
            return reduce, path, tree, os.path.sep
        """,
    )
    text = collected(cells).text
    assert [line for line in text.splitlines() if "import" in line] == [
        "import collections.abc",
        "import json as js",
        "import os.path",
        "import xml.etree.ElementTree as tree",
        "from functools import partial as part",
        "from functools import reduce",
        "from math import sqrt",
        "from os import path",
    ]
    assert rerun(collected(cells))["load_data"]()[:2] == (cells["js"], 2.0)


def test_modules_and_parts_of_them_need_no_import_statement(run: Any) -> None:
    import json

    cells = run("")
    cells["module"], cells["loads"] = json, json.loads
    run("Decoder = module.JSONDecoder\ndef load_data():\n    return Decoder, loads\ndef build_model():\n    return 1\n")
    found = collected(cells)
    assert "\nimport json as module\nfrom json import loads\n\nDecoder = module.JSONDecoder\n" in found.text
    assert rerun(found)["load_data"]() == (json.JSONDecoder, json.loads)


def test_classes_come_with_their_bases_and_decorators(run: Any) -> None:
    cells = run(
        """
        from dataclasses import dataclass
        SIZE, WIDTH = 3, 4
        class Base:
            size = SIZE
            def area(self):
                return self.size ** 2
        """,
        """
        @dataclass(frozen=True)
        class Options:
            units: int = SIZE
            WIDTH = WIDTH
        def shout(function):
            return function
        """,
        """
        class Head(Base):
            __private = 1
            @property
            def area2(self):
                return super().area() + helper(self)
            def __hidden(self):
                return 1
        def helper(head):
            return isinstance(head, Head) and Options().units
        @shout
        def load_data():
            return Head().area2
        def build_model():
            return Options().WIDTH
        """,
    )
    found = collected(cells)
    alone = rerun(found)
    assert alone["load_data"]() == 12
    assert alone["build_model"]() == 4
    assert found.text.index("class Base") < found.text.index("class Head")


def test_a_decorator_that_was_defined_again_comes_before_what_it_decorates(run: Any) -> None:
    decorator = "def mark(function):\n    return tag(function)\n"
    tag = "def tag(function):\n    function.tag = 1\n    return function\n"
    cells = run(decorator + tag, "@mark\ndef build_model():\n    return 2\n" + LOADS, decorator, tag)
    assert rerun(collected(cells))["build_model"].tag == 1


def test_wrapping_decorators_are_kept(run: Any) -> None:
    cells = run(
        """
        import functools
        def twice(function):
            @functools.wraps(function)
            def inner(*args, **kwargs):
                return 2 * function(*args, **kwargs)
            return inner
        @functools.lru_cache(maxsize=None)
        @twice
        def helper():
            return 3
        @twice
        def load_data(rows=2):
            return rows + helper()
        def build_model():
            return helper
        """
    )
    alone = rerun(collected(cells))
    assert alone["load_data"]() == 16
    assert alone["build_model"]().cache_info().hits == 0


def test_functions_may_have_other_names_and_call_themselves(run: Any) -> None:
    cells = run(
        """
        def numbers(n=3):
            return numbers(n - 1) + [n] if n else []
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        same = odd
        def net():
            return even(4), same(4)
        """
    )
    alone = rerun(collected(cells, load_data=cells["numbers"], build_model=cells["net"]))
    assert alone["load_data"]() == [1, 2, 3]
    assert alone["build_model"]() == (True, False)


def test_functions_within_functions_bring_their_variables() -> None:
    units, names = 4, ("a", Path("/tmp"))

    class Head:
        size = 5

        def all(self) -> Any:
            return names

    def helper() -> int:
        assert units  # pytest compiles this to other code
        return units

    def load_data(rows: int = units) -> Any:
        text = """kept
          as it is"""
        return text, rows, helper(), names

    def build_model(head: Undefined = None) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return Head().all()

    found = collect({"load_data": load_data, "build_model": build_model})
    alone = rerun(found)
    assert alone["load_data"]() == load_data()
    assert alone["build_model"]() == names
    assert (found.name, found.root) == ("test_collect.py", Path(__file__).parent)
    assert "\nfrom __future__ import annotations\n" in found.text
    assert "# tests/unit/test_collect.py:" in found.text or Path.cwd() not in Path(__file__).parents


def test_annotations_refuse_nothing(run: Any) -> None:
    cells = run(
        """
        from typing import Any
        live = open("/dev/null")
        class Own:
            file: live = None
        def load_data(a: "Own" = None, b: live = 1) -> Any:
            c: Nothing = 3
            return c
        def build_model():
            return __name__
        """
    )
    found = collected(cells)
    assert "from __future__ import annotations" in found.text
    assert "class Own" in found.text
    assert rerun(found)["load_data"]() == 3
    assert rerun(found)["build_model"]() == "notebook"


def test_annotations_that_are_not_evaluated_stay_so(run: Any) -> None:
    cells = run("from __future__ import annotations\ndef load_data(a: int | None = 1):\n    return a\n")
    run("def build_model():\n    return load_data\n")
    assert rerun(collected(cells))["load_data"].__annotations__ == {"a": "int | None"}


def test_what_a_notebook_adds_to_the_builtins_is_imported(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "display", textwrap.dedent, raising=False)
    cells = run("def load_data():\n    return display, print, __debug__\n\ndef build_model():\n    return 1\n")
    assert "from textwrap import dedent as display" in collected(cells).text


def test_comments_and_texts_stay_as_they_are(run: Any) -> None:
    cells = run(
        LOADS + "if True:\n"
        "    def build_model(\n"
        "        a=1,  # one\n"
        "    ):\n"
        "        # why\n"
        "        return '''x\n"
        "    y''', f'''{a}\n"
        "  z'''\n"
    )
    found = collected(cells)
    assert (
        "def build_model(\n    a=1,  # one\n):\n    # why\n    return '''x\n    y''', f'''{a}\n  z'''\n" in found.text
    )
    assert rerun(found)["build_model"]() == ("x\n    y", "1\n  z")


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("live = open('/dev/null')", "<cell 2>:2: build_model: `live` is an _io.TextIOWrapper, which is no code; make"),
        ("live = {'a': [object()]}", "<cell 2>:2: build_model: `live['a'][0]` is an object, which is no code; make it"),
        ("live = lambda x: x", "<cell 2>:2: build_model: `live` is a lambda; write it with `def`"),
        (
            "import functools; live = functools.partial(int)",
            "`live` is a functools.partial, which has no source of its",
        ),
        ("live = [].append", "`live` is the function list.append, which is no code; make it inside the function, load"),
        ("live = 'x' * 200_000", "<cell 2>:2: build_model: `live` takes 200002 characters as text; make it inside the"),
        ("class live:\n    def __call__(self): ...\nlive = live()", "build_model: `live` is a __main__.live, which is"),
        ("live = type('live', (), {})", "`live` is the class live, whose source is not known; write it into a file"),
        ("exec('def live(): ...')", "`live` is the function live, whose source is not known; write it into a file or"),
        ("live = []; live.append(live)", "<cell 2>:2: build_model: `live[0]` is a list, which is no code; make it"),
        (
            "class A:\n    def live(self): ...\nlive = A.live",
            "`live` is the function A.live, a method; write a function",
        ),
        ("import numpy; live = numpy.zeros(3)", "`live` is a numpy.ndarray, which is no code; make it inside the func"),
        ("import numpy; live = numpy.float32(3)", "is a numpy.float32; write `live = live.item()`, which is a number"),
        ("", "<cell 2>:2: build_model: `live` is not defined; define or import it before the sweep"),
    ],
)
def test_what_cannot_be_carried_is_named(run: Any, cell: str, problem: str) -> None:
    (found,) = problems(run(cell, "def build_model():\n    return live\n" + LOADS))
    assert problem in found


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (
            "def build_model():\n    global n\n    n = 1",
            "<cell 1>:2: build_model: changes the global `n`, of which every",
        ),
        (
            "def build_model():\n    return __file__",
            "<cell 1>:2: build_model: names `__file__`, but workers run a copy",
        ),
        (
            "get_ipython = print\ndef build_model():\n    get_ipython()",
            "<cell 1>:3: build_model: has a magic of IPython",
        ),
        ("n = 1\ndef build_model(a=n):\n    return a\nn = 2\ndef other():\n    return n", ""),
        (
            "def timed(f):\n    def inner():\n        return f()\n    return inner\n@timed\ndef build_model(): ...",
            "`f` is what a decorator of `build_model` wraps; let the decorator use functools.wraps",
        ),
        (
            "import functools\ndef raw(): ...\nbuild_model = functools.wraps(raw)(lambda: raw())",
            "build_model: `build_model` is `raw`, wrapped by a call; write the decorator above the function, with @",
        ),
        (
            "def make():\n    n = 1\n    def build_model():\n        nonlocal n\n        n += 1\n"
            "    return build_model\nbuild_model = make()",
            "<cell 1>:3: build_model: changes a variable of the function around it (nonlocal); keep it inside",
        ),
    ],
)
def test_code_that_would_not_work_alone_is_refused(run: Any, cell: str, problem: str) -> None:
    cells = run(cell, LOADS)
    cells["__file__"] = "x.py"
    if not problem:
        assert rerun(collected(cells))["build_model"]() == 1
        return
    (found,) = problems(cells)
    assert problem in found


@pytest.mark.parametrize(
    ("written", "got"),
    [
        ("lambda: 1", "a lambda"),
        ("int", "the class int"),
        ("len", "the function len"),
        ("[].append", "the function list.append"),
        ("__import__('functools').partial(len)", "a functools.partial"),
        ("7", "7"),
        ("None", "null"),
        ("later", "an async function"),
    ],
)
def test_only_functions_are_taken(run: Any, written: str, got: str) -> None:
    cells = run("async def later(): ...", f"build_model = {written}", LOADS)
    expected = f"build_model: must be a function that is written with `def`; got {got}; write `def build_model(...):`"
    assert problems(cells) == [expected]


def test_all_problems_are_listed_at_once(run: Any) -> None:
    cells = run("a = b = object()\ndef load_data():\n    return a\ndef build_model():\n    return b, c\n")
    assert [text.split(" is ")[0] for text in problems(cells)] == [
        "<cell 1>:3: load_data: `a`",
        "<cell 1>:5: build_model: `b`",
        "<cell 1>:5: build_model: `c`",
    ]
    assert problems(cells, load_data=cells["build_model"]) == [
        "load_data and build_model are one function; give one for each"
    ]


def test_two_notebooks_names_must_agree(run: Any) -> None:
    cells = run("n = 1\ndef build_model():\n    return n\n")
    other: Cells = {}
    lines = "n = 2\ndef load_data():\n    return n\n"
    linecache.cache["<other>"] = (len(lines), None, lines.splitlines(keepends=True), "<other>")
    exec(compile(lines, "<other>", "exec"), other)
    (problem,) = problems(cells, load_data=other["load_data"])
    assert problem.startswith("<cell 1>:3: build_model: `n` means two things, 2 and 1; rename one")
    other["n"] = 1
    assert rerun(collected(cells, load_data=other["load_data"]))["load_data"]() == 1


def test_an_edited_file_is_refused_until_it_is_imported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pkg" / "edited_model.py"
    file.parent.mkdir()
    (file.parent / "rows.py").write_text("N = 1\n")
    text = (
        "from .rows import N\nfrom math import cos\n" + LOADS + "def build_model(units=8):\n    return units * {} + N\n"
    )
    file.write_text(text.format("cos(0)"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("pkg.edited_model")
    found = collected(vars(module))
    assert {name for name, _ in with_neighbours(found.name, found.text, found.root).files} >= {"pkg/rows.py"}
    file.write_text(text.format("10000"))
    (problem,) = problems(vars(module))
    assert "edited_model.py was edited since it was imported; reload it or run the cell again" in problem
    importlib.reload(module)
    assert "10000" in collected(vars(module)).text


def test_a_cell_that_runs_again_unchanged_gives_the_same_text(run: Any) -> None:
    once = run(LOADS, "def build_model():\n    return 1\n")
    before = collected(once).text
    assert collected(run(LOADS)).text == before


def test_what_ipython_puts_in_the_place_of_open_is_open(run: Any) -> None:
    shell: Cells = {"__name__": "IPython.core.interactiveshell"}
    exec("import functools, io\n@functools.wraps(io.open)\ndef _modified_open(*a): ...\n", shell)
    cells = run("def build_model():\n    return open\n" + LOADS)
    cells["open"] = shell["_modified_open"]
    assert rerun(collected(cells))["build_model"]() is open


def test_code_of_a_statement_that_was_compiled_by_itself_is_that_of_its_cell(run: Any) -> None:
    cells = run("import json\ndef build_model():\n    return json.dumps(1)\n" + LOADS)
    for statement in ast.parse("".join(linecache.cache["<cell 1>"][2])).body:  # as IPython runs a cell
        exec(compile(ast.Module(body=[statement], type_ignores=[]), "<cell 1>", "exec"), cells)
    assert rerun(collected(cells))["build_model"]() == "1"
