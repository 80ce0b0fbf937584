"""Reads the experiments of a config's members: their code and the signatures of their functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.config.origins import Key
from runner.config.schema import Config, MemberConfig
from runner.errors import ConfigError
from runner.experiment.importable import import_problems
from runner.experiment.signature import Signature, parse_python, read_signature
from runner.experiment.source import read_source
from runner.records import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A member as configured; `scope` is its place in the config, empty for a sweep of one experiment."""

    name: str
    scope: Key
    config: MemberConfig
    source: Source
    signature: Signature


def read_drafts(config: Config, sources: Mapping[str, Source]) -> list[Draft]:
    """All members as configured.

    Args:
        config: of the sweep.
        sources: the code of members, by name; that of others is read from the disk.

    Raises:
        ConfigError: a file cannot be read, or is no experiment.
    """
    wanted: dict[str, tuple[Key, MemberConfig]] = {}
    for name, member in config.members.items():
        wanted[name] = (("members", name), member)
    if config.experiment is not None:
        wanted[config.name] = ((), MemberConfig(experiment=config.experiment))
    drafts: list[Draft] = []
    problems: dict[str, None] = {}
    for name, (scope, member) in wanted.items():
        place = config.origins.place(*scope, "experiment")
        try:
            source = sources.get(name) or read_source(member.experiment)
            signature = read_signature(parse_python(source.files[0][1], source.path), source.path)
            if name not in sources:
                problems.update(dict.fromkeys(import_problems(source, here=config.fleet.address is None)))
            drafts.append(Draft(name=name, scope=scope, config=member, source=source, signature=signature))
        except ConfigError as err:
            # The config is to blame for a missing file, the file for anything else.
            missing = f"{member.experiment}: no"
            problems.update({f"{place}: {text}" if text.startswith(missing) else text: None for text in err.problems})
        except (OSError, ValueError) as err:
            problems[f"{place}: cannot be read: {err}"] = None
    if problems:
        raise ConfigError(tuple(problems))
    return drafts
