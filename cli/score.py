"""`palaestra score`: score stored episodes again, with another reward or to repair what could not be scored.

Nothing is replayed: a reward is a function of what was stored.
"""

from __future__ import annotations

import math
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaestra.cli.db import address_of
from palaestra.cli.output import JsonOption, emit, parse_settings, show_progress, show_table
from palaestra.mcp_servers.errors import ConfigError, StoreError, nearest

if TYPE_CHECKING:
    from palaestra.agents.store import Store, StoredRollout
    from palaestra.envs.core.types import Trajectory
    from palaestra.rewards.compose import Reward
    from palaestra.rewards.recipe import RewardRecipe
    from palaestra.rewards.rescore import Rescored

_PRESET = "prove:"
_BATCH = 256  # rewards written in one transaction


def score(
    store: Annotated[str, typer.Argument(metavar="STORE", help="SQLite file, run folder, database URL or JSONL file.")],
    reward: Annotated[
        str, typer.Option(help="prove:palaestra, prove:paper, or a TOML file with a reward, alone or as [reward].")
    ] = "prove:palaestra",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A weight (state=0) or a rule (turn_policy=any); repeatable."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep the new rewards in the store.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score stored episodes again, without playing them again.

    Examples:
        palaestra score runs/tools
        palaestra score episodes.jsonl --reward prove:paper --set beta=0 --json
    """
    from palaestra.rewards.rescore import summarise

    recipe = read_reward(reward, parse_settings(settings or ()))
    tally = _Tally(recipe)
    with _opened(store, write) as book, show_progress(book.counts()["rollouts"], "episodes") as progress:

        def rescored() -> Iterator[Rescored]:
            for found in _rescore(book, recipe, tally, write):
                yield found
                progress.advance(progress.task_ids[0])

        summary = summarise(rescored())
    found = {
        "store": store,
        "reward": recipe.model_dump(mode="json"),
        "episodes": summary.total,
        "valid": tally.valid,
        "mean": _mean(tally.total, tally.valid),
        "mean_before": _mean(tally.total_before, tally.valid_before),
        "components": {name: _mean(total, tally.valid) for name, total in tally.components.items()},
        "share_of_best": {kind: _mean(*sums) for kind, sums in sorted(tally.shares.items())},
        "invalid": summary.invalid,
        "changed": summary.changed,
        "repaired": summary.repaired,
        "written": write,
    }
    emit(found) if as_json else _show(found)


def read_reward(reward: str, changes: Mapping[str, Any]) -> RewardRecipe:
    """The reward meant by `--reward`, with the weights and rules of `--set` changed.

    Raises: ConfigError "reward" for a name that is neither preset nor file, "setting" for an unknown key, naming the
        nearest; "config" for a wrong value.
    """
    from palaestra.rewards.prove import ProveSettings, preset
    from palaestra.rewards.recipe import COMPONENTS, RewardRecipe

    rules = [name for name in ProveSettings.model_fields if name != "weights"]
    own = [name for name in RewardRecipe.model_fields if name not in ("components", "prove")]
    for key in changes:
        if key not in (*COMPONENTS, *rules, *own):
            raise ConfigError("setting", f"no setting {key!r}; {nearest(key, [*COMPONENTS, *rules, *own])}")
    if reward.startswith(_PRESET):
        recipe = RewardRecipe(prove=preset(reward.removeprefix(_PRESET)))
    else:
        recipe = RewardRecipe.model_validate(_reward_table(Path(reward)))
    data = recipe.model_dump(mode="json")
    changed_rules = {key: value for key, value in changes.items() if key in rules}
    if changed_rules:
        data["prove"] = {**(data["prove"] or ProveSettings(weights={}).model_dump(mode="json")), **changed_rules}
    data["components"] |= {key: value for key, value in changes.items() if key in COMPONENTS}
    return RewardRecipe.model_validate({**data, **{key: value for key, value in changes.items() if key in own}})


def _reward_table(path: Path) -> Any:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        known = f"{_PRESET}palaestra, {_PRESET}paper, or a TOML file"
        raise ConfigError("reward", f"--reward {str(path)!r} cannot be read ({error}); give {known}") from error
    return data.get("reward", data)


@contextmanager
def _opened(store: str, write: bool) -> Iterator[Store]:
    """The store; a JSONL file is read into a passing one, so that there is one way to read it."""
    from palaestra.agents.export import import_jsonl
    from palaestra.agents.store import Store

    if not store.endswith(".jsonl"):
        with Store.open(address_of(store), create=False, read_only=not write) as opened:
            yield opened
        return
    if write:
        raise StoreError(
            "read_only", f"--write cannot change {store}; import it into a store with `palaestra db import`"
        )
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store.sqlite") as opened:
        import_jsonl(opened, Path(store))
        yield opened


def _rescore(book: Store, recipe: RewardRecipe, tally: _Tally, write: bool) -> Iterator[Rescored]:
    from palaestra.rewards.rescore import Rescored

    function = recipe.build()
    fresh: dict[tuple[str, int], dict[str, Reward]] = {}
    waiting = 0
    for stored in book.rollouts():
        found = Rescored(stored.record.rollout_id, stored.reward, function(stored.rollout.trajectory))
        tally.add(stored, found)
        yield found
        if write and found.changed:
            fresh.setdefault((stored.record.run_id, stored.record.iteration), {})[found.key] = found.after
            waiting += 1
        if waiting >= _BATCH:
            _keep(book, fresh)
            waiting = 0
    _keep(book, fresh)


def _keep(book: Store, fresh: dict[tuple[str, int], dict[str, Reward]]) -> None:
    for (run_id, iteration), rewards in fresh.items():
        book.set_rewards(run_id, iteration, rewards)
    fresh.clear()


class _Tally:
    """Sums over the episodes scored so far; means are over the valid ones."""

    def __init__(self, recipe: RewardRecipe) -> None:
        self._recipe = recipe
        self.valid = self.valid_before = 0
        self.total = self.total_before = 0.0
        self.components = dict.fromkeys(recipe.components, 0.0)
        self.shares: dict[str, tuple[float, int]] = {}

    def add(self, stored: StoredRollout, found: Rescored) -> None:
        from palaestra.rewards.compose import RewardBreakdown

        if isinstance(found.before, RewardBreakdown):
            self.valid_before += 1
            self.total_before += found.before.total
        if isinstance(found.after, RewardBreakdown):
            self.valid += 1
            self.total += found.after.total
            for component in found.after.components:
                self.components[component.name] += component.total
            self._add_share(stored.rollout.trajectory, found.after.total)

    def _add_share(self, trajectory: Trajectory, total: float) -> None:
        """Of what honest play gets, per kind of task: the most differs between them."""
        from palaestra.envs.tools.evidence import RECORD_KEY
        from palaestra.envs.tools.records import TaskRecord
        from palaestra.rewards.prove import best_reward

        if self._recipe.prove is None or RECORD_KEY not in trajectory.start:
            return
        record = TaskRecord.from_json(trajectory.start[RECORD_KEY])
        best = best_reward(record, self._recipe.prove.model_copy(update={"weights": self._recipe.components}))
        if best > 0:
            share, count = self.shares.get(record.kind, (0.0, 0))
            self.shares[record.kind] = (share + total / best, count + 1)


def _mean(total: float, count: int) -> float | None:
    return total / count if count and math.isfinite(total) else None


def _show(found: Mapping[str, Any]) -> None:
    rows = [(name, found["reward"]["components"][name], mean) for name, mean in found["components"].items()]
    rows += [("total", None, found["mean"]), ("total as stored", None, found["mean_before"])]
    show_table(f"{found['episodes']} episodes, {found['valid']} with a reward", ("component", "weight", "mean"), rows)
    if found["share_of_best"]:
        show_table("share of what honest play gets", ("kind", "mean"), found["share_of_best"].items())
    if found["invalid"]:
        show_table("no reward", ("reason", "episodes"), found["invalid"].items())
    done = "written to the store" if found["written"] else "nothing stored was touched"
    typer.echo(f"{found['changed']} differ from the stored reward, {found['repaired']} had none; {done}.")
