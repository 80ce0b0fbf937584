"""The documentation says what the code does: verbs, keys, commands, links, layers, exit codes."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from pages import PAGES, ROOT, blocks, page, prose, rows, write_files
from pydantic import BaseModel

from runner import errors
from runner.cli import cli
from runner.config import Config, config_to_yaml, hints, load_config
from runner.config.overrides import parse_settings
from runner.loop import lockstep
from runner.loop.interfaces import Fleet, Journal, Snapshots, Watcher
from runner.records import Trial
from runner.search.members import resolve_members
from runner.search.proposals import propose_trials
from runner.search.proposer import make_proposer

README, CONFIGURATION, EXPERIMENTS, ARCHITECTURE = map(
    page, ("README.md", "docs/configuration.md", "docs/experiments.md", "docs/architecture.md")
)
CONFIGS = sorted(path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml"))
COMMAND = re.compile(r"(?:^|[`$ ])(?:\S*/)?python3? -m runner +([^`\n]+)", re.MULTILINE)


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


# --- verbs and exit codes ---------------------------------------------------------------------------------------------


def test_every_verb_and_option_is_in_the_readme() -> None:
    documented = {row[0].strip("`").split()[0]: row[1] for row in rows(README, 2) if re.match("`[a-z]", row[0])}
    assert set(documented) == set(cli.commands)
    for verb, command in cli.commands.items():
        options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
        for option in options - {"--debug", "--config-dir", "--config-name"}:
            assert option in documented[verb], f"{verb} {option}"
    for option in ("--debug", "--config-dir", "--config-name"):
        assert option in README + CONFIGURATION


def test_the_exit_codes_are_those_of_the_code() -> None:
    tree = [errors.RunnerError]
    for kind in tree:
        tree += kind.__subclasses__()
    documented = {int(row[0]) for row in rows(README, 2) if row[0].isdigit()}
    assert documented == {kind.exit_code for kind in tree} | {0, 3, 4, 129, 130, 143}
    assert {int(code) for code in re.findall(r"\b(\d+) [a-zA-Z]", cli.epilog or "")} == documented - {1}


# --- config -----------------------------------------------------------------------------------------------------------


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key with its default and what is allowed; members' sections have the keys of those at the top."""
    for name, field in model.model_fields.items():
        key, inner = prefix + name, section(field.annotation)
        if inner is None or name == "members" or prefix or field.default is None:
            default = (
                {} if inner is not None and field.default is not None else field.get_default(call_default_factory=True)
            )
            yield key, "required" if field.is_required() else f"`{shown(default)}`", str(field.description)
        if inner is not None and not prefix.startswith("members."):
            yield from keys(inner, f"{key}.NAME." if name == "members" else f"{key}.")


def section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(section, get_args(annotation))), None)


def shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


def test_every_config_key_is_documented_with_its_default_and_what_is_allowed() -> None:
    documented = {row[0].strip("`"): row[1:3] for row in rows(CONFIGURATION, 4) if row[0].startswith("`")}
    assert documented == {key: [default, allowed] for key, default, allowed in keys()}


def trials_of(config: Config) -> tuple[Trial, ...]:
    members = resolve_members(config)
    proposer = make_proposer(config.search, members, 0, prefix=False)
    return (*propose_trials(members, config), *(proposer.first() if proposer is not None else ()))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_yaml_file_of_conf_gives_trials(config: Path) -> None:
    settings = [] if config.parent == Path() else [f"{config.parent}={config.stem}"]
    name = config.stem if config.parent == Path() else "config"
    loaded = load_config(None, settings, config_dir=ROOT / "conf", config_name=name)
    assert trials_of(loaded)


@pytest.mark.parametrize("block", blocks(CONFIGURATION, "yaml"))
def test_the_yaml_examples_give_trials(block: str, tmp_path: Path) -> None:
    values = yaml.safe_load(block)
    if "members" not in values:
        values["experiment"] = "experiments/digits_mlp.py"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    loaded = load_config(None, [], config_dir=tmp_path)
    assert trials_of(loaded)


def test_a_sweeps_resolved_config_runs_again_as_documented(tmp_path: Path) -> None:
    config = load_config(None, ["experiment=three_models"], config_dir=None)
    (tmp_path / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    assert load_config(None, [], config_dir=tmp_path) == config


def test_every_refused_callback_has_its_row() -> None:
    named = " ".join(row[0] for row in rows(EXPERIMENTS, 2)).lower()
    for name in hints.table("callbacks"):
        assert name.replace("_", "") in named, name


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    files = [*PAGES, *sorted((ROOT / "experiments").glob("*.py"))]
    found = [line for path in files for line in COMMAND.findall(path.read_text(encoding="utf-8"))]
    return list(dict.fromkeys(line.strip() for line in found))


@pytest.mark.parametrize("line", commands())
def test_every_command_can_be_run(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb, *arguments = shlex.split(line, comments=True)
    if verb == "VERB":
        return
    context = cli.commands[verb].make_context(verb, list(arguments), resilient_parsing=False)
    if verb not in ("check", "sweep", "plan"):
        return
    given: tuple[str, ...] = context.params["arguments"]
    files = [argument for argument in given if argument.endswith(".py") and "=" not in argument]
    overrides = [argument for argument in given if argument not in files]
    assert parse_settings(overrides)[1] == []
    if context.params["config_dir"] is not None:
        return  # a sweep's own folder
    if not all((ROOT / file).is_file() for file in files) or not _is_a_config_of_this_repository(given):
        write_files(tmp_path)
        monkeypatch.chdir(tmp_path)
    config = load_config(files[0] if files else None, overrides, config_dir=None)
    assert trials_of(config)


def _is_a_config_of_this_repository(arguments: tuple[str, ...]) -> bool:
    names = [argument.partition("=")[2] for argument in arguments if argument.startswith("experiment=")]
    return all((ROOT / "conf" / "experiment" / f"{name}.yaml").is_file() for name in names)


def configs_by_experiment() -> dict[str, str]:
    """The name of the config that trains each file of `experiments/`."""
    found = {}
    for file in sorted((ROOT / "conf" / "experiment").glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        found |= dict.fromkeys(re.findall(r"experiment: experiments/(\w+\.py)$", text, re.MULTILINE), file.stem)
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "experiments").glob("*.py")), ids=lambda file: file.stem)
def test_every_experiment_says_how_to_run_it_and_what_to_expect(file: Path) -> None:
    head = file.read_text(encoding="utf-8").split('"""')[1]
    assert COMMAND.search(head.splitlines()[0])
    for part in ("\nExpected on two CPU cores", "\nExpected score: "):
        assert part in head
    config = configs_by_experiment()[file.name]
    (row,) = [row for row in rows(page("docs/gallery.md"), 6) if f"/{file.name})" in row[0]]
    assert row[0] == f"[{config}](../experiments/{file.name})"
    assert all(row)


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_of_an_experiment_opens_with_its_command_time_and_score(file: Path) -> None:
    head = re.match(r"(#.*\n)+", file.read_text(encoding="utf-8"))
    assert head is not None
    assert head[0].splitlines()[1].startswith(f"# runner sweep experiment={file.stem}")
    assert re.search(r"\d+ s on two CPU cores; \w+ .*\d", head[0])


def test_the_api_page_has_every_public_name() -> None:
    import runner

    documented = re.findall(r"^\.\. auto\w+:: runner\.(\w+)(?:\(\))?$", page("docs/api.md"), flags=re.MULTILINE)
    assert sorted(documented) == sorted(runner.__all__)


# --- links, loop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(source: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(source.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (source.parent / path).resolve() if path else source
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(file.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_module_that_a_page_names_is_there() -> None:
    for path in PAGES:
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", path.read_text(encoding="utf-8")):
            is_there = any((folder / name).is_file() for folder in (ROOT, ROOT / "runner"))
            assert is_there or name == "best/rebuild.py", f"{path.name}: {name}"


def test_the_loop_is_quoted_as_it_is() -> None:
    source = inspect.getsource(lockstep.Loop.run)
    (loop,) = blocks(ARCHITECTURE, "python")
    assert textwrap.indent(loop.rstrip("\n"), "        ") + "\n" == source[source.index("        while ") :]


@pytest.mark.parametrize("interface", [Fleet, Journal, Snapshots, Watcher], ids=lambda one: one.__name__)
def test_the_table_of_interfaces_has_their_methods(interface: type) -> None:
    (asked,) = (row[2] for row in rows(ARCHITECTURE, 3) if row[0] == f"`{interface.__name__}`")
    assert set(re.findall(r"`(\w+)`", asked)) == {name for name in vars(interface) if not name.startswith("_")}


def test_the_readme_tells_the_package_what_it_is() -> None:
    assert isinstance(cli, click.Group)
    for word in ("Ray", "MLflow", "lockstep", "make sweep", "make test"):
        assert word in README.split("## What you see")[0]


def messages(text: str) -> list[str]:
    """What a page quotes of the program: in the first cells of its tables, and in indented lines."""
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    indented = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [quoted for cell in cells for quoted in re.findall("`([^`]+)`", cell)] + indented


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "runner").rglob("*.py")]
    texts = "\0".join(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    quoted = messages((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(quoted) > 30
    parts = [part.strip() for message in quoted for part in message.split("…")]
    assert [part for part in parts if part not in texts] == []
