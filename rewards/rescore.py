"""Scoring stored trajectories again: with another reward, or to repair what could not be scored at the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from palaestra.envs.core.types import Trajectory
from palaestra.rewards.compose import Invalid, Reward, RewardFunction


@dataclass(frozen=True, slots=True)
class Rescored:
    """One trajectory's reward as stored (None if there was none) and as computed now."""

    key: str
    before: Reward | None
    after: Reward

    @property
    def repaired(self) -> bool:
        """True if there is a reward now and there was none before."""
        return not isinstance(self.after, Invalid) and (self.before is None or isinstance(self.before, Invalid))

    @property
    def changed(self) -> bool:
        """True if the reward differs in any way from the stored one."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class RescoreSummary:
    """Counts over a rescoring; `invalid` per reason, reasons in alphabetical order."""

    total: int
    changed: int
    repaired: int
    invalid: dict[str, int]


def rescore(stored: Iterable[tuple[str, Trajectory, Reward | None]], reward: RewardFunction) -> Iterator[Rescored]:
    """Score each (key, trajectory, stored reward) again. Nothing stored is touched; one at a time, in order."""
    for key, trajectory, before in stored:
        yield Rescored(key, before, reward(trajectory))


def summarise(results: Iterable[Rescored]) -> RescoreSummary:
    """Count what a rescoring changed."""
    total = changed = repaired = 0
    reasons: Counter[str] = Counter()
    for result in results:
        total += 1
        changed += result.changed
        repaired += result.repaired
        if isinstance(result.after, Invalid):
            reasons[result.after.reason.value] += 1
    return RescoreSummary(total, changed, repaired, dict(sorted(reasons.items())))
