"""What of a config does not go together with a member's experiment, beside values and samplers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runner.config.origins import Key
from runner.config.schema import Config
from runner.config.space import Choice, Dimension
from runner.search.drafts import Draft
from runner.search.parameters import parameter_name
from runner.search.space import Point
from runner.texts.redaction import is_secret_name, secret_shape


def problems_of_callbacks(config: Config, draft: Draft) -> Iterator[str]:
    """The state of callbacks cannot be copied, so that a population cannot have them."""
    if config.search.population is None or draft.signature.callbacks is None:
        return
    yield (
        f"{config.origins.place('search', 'population')}: lets trials go on from the states of others, and "
        f"{draft.source.path} has callbacks, whose state cannot be copied; remove the function callbacks, or "
        "search.population"
    )


def problems_of_folds(
    config: Config, draft: Draft, fixed: Mapping[str, object], searched: Sequence[str]
) -> Iterator[str]:
    """With folds, `load_data` has to take a fold's number and how many there are, and nothing else may give them."""
    where = config.origins.place("search", "folds")
    missing = [name for name in ("fold", "folds") if name not in draft.signature.load_data]
    if missing:
        yield (
            f"{where}: {draft.source.path}: load_data has no parameter {' and no '.join(missing)}; write "
            "load_data(fold: int = 0, folds: int = 5), which returns the data with this fold as validation"
        )
    for name in ("fold", "folds"):
        if name in fixed or name in searched:
            yield f"{where}: gives each trial its {name}; do not give params.{name} too"


def given_twice(config: Config, draft: Draft) -> Iterator[str]:
    """Within one section of the config a name is either fixed or searched, and points exclude a space."""
    places: list[tuple[Key, Point, Point, Sequence[Point]]] = [
        ((), config.params, config.search.space, config.search.points)
    ]
    if draft.scope:
        member = draft.config
        places.append((draft.scope, member.params, member.search.space, member.search.points))
    for scope, params, space, points in places:
        if points and space:
            where = config.origins.place(*scope, "search", "points")
            yield f"{where}: points and space are both given; each point is a whole trial; remove one"
        for name in space:
            if name.removeprefix("params.") in params and name != "seed":
                yield f"{config.origins.place(*scope, 'search', 'space', name)}: is also fixed in params; remove one"


def secrets_among(
    config: Config,
    draft: Draft,
    params: Mapping[str, object],
    space: Mapping[str, Dimension],
    points: Sequence[Point],
) -> Iterator[str]:
    """Refuses text under a name like `api_key`, or that looks like a secret, because parameters are recorded."""
    values = [*params.items(), *(item for point in points for item in point.items())]
    values += [(name, value) for name, found in space.items() if isinstance(found, Choice) for value in found.values]
    for name, value in dict.fromkeys((name, value) for name, value in values if isinstance(value, str) and value):
        bare = parameter_name(name)
        if bare is None:
            continue
        shape = None if is_secret_name(bare) else secret_shape(value)
        what = "is named like a secret" if is_secret_name(bare) else f"looks like {shape}" if shape else None
        if what is not None:
            message = (
                f"{config.origins.place(*draft.scope, 'params', bare)}: {what}, and parameters are "
                "recorded in the journal and in MLflow; let the experiment read it from the environment"
            )
            yield message if shape else f"{message}, or rename it"
