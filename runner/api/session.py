"""A session: Ray and its workers stay warm from one sweep to the next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from runner.api.contexts import Progress
from runner.api.result import Result
from runner.api.runs import wanted_of
from runner.api.sweeps import resume_sweep, sweep_wanted
from runner.driver.machines import import_ray
from runner.errors import RunnerError
from runner.review.catalog import SWEEPS

if TYPE_CHECKING:
    from runner.api.running import RunningSweep
    from runner.fleet.ray.pool import Pool

_FUNCTIONS = ("load_data", "build_model", "callbacks")


class Session:
    """Keeps Ray and its workers between the sweeps of a program, so that all but the first begin at once.

    A worker that has run code serves only the same code again, and only if nothing of the sweep before is left in its
    process, so that the numbers are those of a new one. For other code there are spare processes with TensorFlow
    imported, as many as slots, if a quarter of the free memory holds them. Other slots, another environment or another
    current folder mean new workers. With `fleet.kind=local` there is nothing to keep.

    Sweeps of a session run one after another. While it is open, a sweep outside of it that needs Ray is refused. The
    end of the `with` block waits for a sweep in the background; if an exception ends it, that sweep is stopped first.

    Example:
        >>> with runner.Session() as session:
        ...     first = session.sweep("experiments/digits_mlp.py", train={"epochs": 2})
        ...     longer = session.resume(first, more_epochs=1)
        >>> longer.trials["epochs"].tolist()
        [3]
    """

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._running: RunningSweep | None = None

    def __enter__(self) -> Self:
        import_ray()
        from runner.fleet.ray.pool import Pool

        self._pool = Pool(keeps=True)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self._running is not None:
            self._running.stop()
        self.close()

    def close(self) -> None:
        """Waits for a sweep in the background, and ends the workers and Ray."""
        if self._running is not None:
            self._running.wait()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @overload
    def sweep(self, *arguments: Any, block: Literal[False], **settings: Any) -> RunningSweep: ...

    @overload
    def sweep(self, *arguments: Any, block: Literal[True] = True, **settings: Any) -> Result: ...

    def sweep(
        self,
        experiment: str | os.PathLike[str] | None = None,
        *overrides: str,
        progress: Progress = "auto",
        block: bool = True,
        root: str | os.PathLike[str] = SWEEPS,
        **settings: Any,
    ) -> Result | RunningSweep:
        """As `runner.sweep`, with the session's workers.

        Args:
            experiment: as for `runner.sweep`, like all others.
            overrides: `key=value` arguments.
            progress: what is shown.
            block: False to return at once.
            root: the folder of all sweeps.
            settings: the other arguments of `runner.sweep`.

        Raises:
            RunnerError: as for `runner.sweep`, or the session is not open.
        """
        functions = {name: settings.pop(name, None) for name in _FUNCTIONS}
        params, space, config_dir = (settings.pop(name, None) for name in ("params", "space", "config_dir"))
        config_name = settings.pop("config_name", "config")
        wanted = wanted_of(experiment, overrides, functions, params, space, settings, config_dir, config_name, root)
        return self._noted(sweep_wanted(wanted, progress, block=block, pool=self._open))

    @overload
    def resume(
        self, sweep: str | Result = ..., *, retry_failed: bool = ..., more_epochs: int = ...,
        root: str | os.PathLike[str] = ..., progress: Progress = ..., block: Literal[False],
    ) -> RunningSweep: ...  # fmt: skip

    @overload
    def resume(
        self, sweep: str | Result = ..., *, retry_failed: bool = ..., more_epochs: int = ...,
        root: str | os.PathLike[str] = ..., progress: Progress = ..., block: Literal[True] = ...,
    ) -> Result: ...  # fmt: skip

    def resume(
        self,
        sweep: str | Result = "latest",
        *,
        retry_failed: bool = False,
        more_epochs: int = 0,
        root: str | os.PathLike[str] = SWEEPS,
        progress: Progress = "auto",
        block: bool = True,
    ) -> Result | RunningSweep:
        """As `runner.resume`, with the session's workers.

        Args:
            sweep: a sweep, its id, an unambiguous beginning of it, or "latest".
            retry_failed: continues failed trials where they failed.
            more_epochs: additional epochs for every trial.
            root: the folder of all sweeps.
            progress: as for `sweep`.
            block: as for `sweep`.

        Raises:
            RunnerError: as for `runner.resume`, or the session is not open.
        """
        how = {"retry_failed": retry_failed, "more_epochs": more_epochs}
        return self._noted(resume_sweep(sweep, progress, how, block=block, root=Path(root), pool=self._open))

    def _noted(self, found: Result | RunningSweep) -> Result | RunningSweep:
        """Notes a sweep in the background, whose end `close` waits for."""
        self._running = None if isinstance(found, Result) else found
        return found

    @property
    def _open(self) -> Pool:
        if self._pool is None:
            raise RunnerError("the session is not open; write `with runner.Session() as session:`")
        return self._pool
