from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.agents.episode import LiveEpisode, Slot, StagePool
from palaestra.agents.policies.base import Policy, TurnReply, TurnRequest
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.policies.scripted import ScriptedPolicy
from palaestra.agents.rollout import Deadlines, collect, iter_groups
from palaestra.agents.types import Completion, FinishReason, RolloutFailure, RolloutGroup
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import ActionStatus, StopReason, Task, Trajectory
from palaestra.envs.sokoban.env import SokobanEnv
from palaestra.mcp_servers.errors import ConfigError, RolloutError, TaskError

SOKOBAN = "palaestra/Sokoban-v0"
FAULTY = "palaestra-tests/FaultySokoban-v0"
COMPACT = TextProtocol(style="compact", context="window", history=0)


class FaultySokoban(SokobanEnv):
    """Sokoban that breaks where it is told to, and counts its instances."""

    made: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    def __init__(self, fault: str = "", **kwargs: Any) -> None:
        if fault == "make":
            raise OSError("no room for another instance")
        super().__init__(**kwargs)
        self.fault = fault
        type(self).made += 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self.fault == "reset":
            raise OSError("level file is gone")
        observation, info = super().reset(seed=seed, options=options)
        return (3 if self.fault == "not text" else observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.fault == "step" and self._steps == 2:
            raise OSError("the board melted")
        return super().step(action)

    def close(self) -> None:
        type(self).closed += 1
        if self.fault == "close":
            raise OSError("cannot close")


@pytest.fixture(autouse=True)
def faulty_sokoban() -> Iterator[None]:
    FaultySokoban.made = FaultySokoban.closed = 0
    gymnasium.register(FAULTY, entry_point=lambda **kwargs: FaultySokoban(**kwargs))
    yield
    del gymnasium.registry[FAULTY]


class Spy:
    """Passes everything on to a policy and keeps count; `before` may raise in its stead."""

    def __init__(self, inner: Policy, before: Callable[[Sequence[TurnRequest]], None] = lambda _: None) -> None:
        self.inner, self.before = inner, before
        self.batches: list[list[TurnRequest]] = []
        self.closed: list[str] = []

    def act(self, requests: Sequence[TurnRequest]) -> Sequence[TurnReply | RolloutFailure]:
        self.batches.append(list(requests))
        self.before(requests)
        return self.inner.act(requests)

    def close_episode(self, episode: str) -> None:
        self.closed.append(episode)
        self.inner.close_episode(episode)


def tasks(count: int, env_id: str = SOKOBAN, **env_kwargs: Any) -> list[Task]:
    return [Task(env_id, seed, env_kwargs) for seed in range(count)]


def short(max_steps: int) -> dict[str, Any]:
    """Arguments of a Sokoban whose levels are longer than its episodes."""
    return {"levels": "embedded", "max_steps": max_steps}


def plain(groups: Sequence[RolloutGroup]) -> list[Any]:
    """Groups as comparable data."""
    return [[(r.rollout_id, r.member, r.trajectory.to_dict(), r.failure) for r in g.rollouts] for g in groups]


def reasons(groups: Sequence[RolloutGroup]) -> list[StopReason]:
    return [rollout.trajectory.stop_reason for group in groups for rollout in group.rollouts]


def test_the_expert_wins_every_episode() -> None:
    groups = collect(tasks(6), ExpertPolicy(protocol=COMPACT), group_size=2, protocol=COMPACT)
    assert all(rollout.trajectory.won for group in groups for rollout in group.rollouts)
    assert reasons(groups) == [StopReason.TERMINATED] * 12
    first = groups[0].rollouts[0].trajectory
    assert first.steps[0].response.startswith("<action>")
    assert first.steps[0].action.text == first.steps[0].response.removeprefix("<action>").removesuffix("</action>")
    assert first.steps[-1].info["won"] is first.steps[-1].terminated is True
    assert first.score == 1.0


def test_groups_ids_and_members_come_in_order() -> None:
    wanted = tasks(3)
    groups = collect(wanted, RandomPolicy(0, COMPACT), group_size=3, protocol=COMPACT, max_live=4, prefix="s7-")
    assert [group.task for group in groups] == wanted
    assert [group.group_id for group in groups] == [f"s7-{task.key}" for task in wanted]
    for group in groups:
        assert [rollout.member for rollout in group.rollouts] == [0, 1, 2]
        assert [rollout.rollout_id for rollout in group.rollouts] == [f"{group.group_id}-{i}" for i in range(3)]
        assert {rollout.group for rollout in group.rollouts} == {group.group_id}
        starts = [rollout.trajectory.start for rollout in group.rollouts]
        assert starts[0] == starts[1] == starts[2]
    assert len({group.rollouts[0].trajectory.start["anchor"] for group in groups}) == 3


def test_a_task_given_twice_makes_two_groups() -> None:
    task = Task(SOKOBAN, 1)
    groups = collect([task, task, Task(SOKOBAN, 2), task], RandomPolicy(0, COMPACT), protocol=COMPACT)
    assert [group.group_id for group in groups][:2] == [task.key, f"{task.key}.1"]
    assert groups[3].group_id == f"{task.key}.2"
    ids = [rollout.rollout_id for group in groups for rollout in group.rollouts]
    assert len(set(ids)) == 4


def test_no_tasks_no_groups() -> None:
    assert collect([], RandomPolicy(0)) == []


@pytest.mark.parametrize("max_live", [1, 3, 64])
def test_the_result_does_not_depend_on_max_live(max_live: int) -> None:
    def run(live: int) -> list[Any]:
        return plain(collect(tasks(5), RandomPolicy(9, COMPACT), group_size=2, protocol=COMPACT, max_live=live))

    assert run(max_live) == run(10)


def test_neighbours_do_not_matter() -> None:
    alone = collect(tasks(3)[2:], RandomPolicy(9, COMPACT), group_size=2, protocol=COMPACT)
    together = collect(tasks(3), RandomPolicy(9, COMPACT), group_size=2, protocol=COMPACT)
    assert plain(alone) == plain(together)[2:]


def test_one_call_per_turn_for_all_live_episodes() -> None:
    spy = Spy(ScriptedPolicy(lambda _: "up", COMPACT))
    collect(tasks(4), spy, group_size=2, protocol=COMPACT, max_live=8)
    assert len(spy.batches) == 15  # nobody wins by walking up for fifteen steps
    assert all(len(batch) == 8 for batch in spy.batches)
    assert all(request.turn == turn for turn, batch in enumerate(spy.batches) for request in batch)


def test_the_queue_refills_and_instances_are_reused() -> None:
    spy = Spy(RandomPolicy(0, COMPACT))
    groups = collect(tasks(10, FAULTY, **short(4)), spy, group_size=2, protocol=COMPACT, max_live=3)
    assert len(groups) == 10
    assert max(len(batch) for batch in spy.batches) == 3
    assert FaultySokoban.made == 3 == FaultySokoban.closed


def test_instances_are_kept_apart_by_arguments_and_bounded() -> None:
    mixed = [Task(FAULTY, seed, short(2 + seed % 3)) for seed in range(9)]
    groups = collect(mixed, RandomPolicy(0, COMPACT), protocol=COMPACT, max_live=2)
    assert [len(group.rollouts[0].trajectory.steps) for group in groups] == [2 + seed % 3 for seed in range(9)]
    assert FaultySokoban.made == FaultySokoban.closed


def test_episodes_are_closed_exactly_once() -> None:
    spy = Spy(RandomPolicy(0, COMPACT))
    groups = collect(tasks(4), spy, group_size=2, protocol=COMPACT, max_live=3)
    expected = [rollout.rollout_id for group in groups for rollout in group.rollouts]
    assert Counter(spy.closed) == Counter(expected)


def test_groups_are_yielded_as_they_complete() -> None:
    long_then_short = [Task(SOKOBAN, 0, short(14)), Task(SOKOBAN, 1, short(1))]
    spy = Spy(ScriptedPolicy(lambda _: "up", COMPACT))
    groups = iter_groups(long_then_short, spy, protocol=COMPACT)
    assert next(groups).task == long_then_short[1]
    assert len(spy.batches) == 1
    assert next(groups).task == long_then_short[0]


def test_an_abandoned_iterator_cleans_up() -> None:
    spy = Spy(RandomPolicy(0, COMPACT))
    groups = iter_groups(tasks(6, FAULTY), spy, protocol=COMPACT, max_live=2)
    next(groups)
    assert isinstance(groups, Iterator)
    groups.close()  # type: ignore[attr-defined]
    assert FaultySokoban.closed == FaultySokoban.made
    assert len(spy.closed) == len({request.episode for batch in spy.batches for request in batch})


@pytest.mark.parametrize("context", ["append", "window"])
def test_prompts_follow_the_protocol(context: str) -> None:
    protocol = TextProtocol.model_validate({"context": context})
    spy = Spy(ScriptedPolicy(lambda _: "up", protocol))
    collect([Task(SOKOBAN, 0, short(3), instruction="be quick")], spy, protocol=protocol)
    requests = [batch[0] for batch in spy.batches]
    assert [request.fresh for request in requests] == [True, context == "window", context == "window"]
    assert "You act in Sokoban." in requests[0].messages[0].content
    assert ("did: up" in requests[2].messages[0].content) == (context == "window")
    assert requests[0].admissible == ("up", "down", "left", "right")
    assert requests[1].observation in requests[1].messages[0].content


def test_malformed_answers_are_steps_that_say_what_was_wrong() -> None:
    answers = ["up", "<action>up</action><action>up</action>", "<action>jump</action>", "<action></action>"]
    policy = ScriptedPolicy(answers, COMPACT, raw=True)
    (group,) = collect([Task(SOKOBAN, 3, short(4))], policy, protocol=COMPACT)
    steps = group.rollouts[0].trajectory.steps
    expected = [
        ActionStatus.NO_ACTION,
        ActionStatus.MANY_ACTIONS,
        ActionStatus.NOT_IN_LANGUAGE,
        ActionStatus.EMPTY_ACTION,
    ]
    assert [step.action.status for step in steps] == expected
    assert [step.info["action_status"] for step in steps] == [status.value for status in expected]
    assert [step.action.failure is None for step in steps] == [False, False, True, False]
    assert [step.response for step in steps] == answers
    assert len({step.observation for step in steps}) == 1


def test_inadmissible_actions_are_marked_by_the_world() -> None:
    task = Task(SOKOBAN, 3, {"admissible": "effective"})
    (group,) = collect([task], ScriptedPolicy(lambda _: "up", COMPACT), protocol=COMPACT)
    statuses = {step.action.status for step in group.rollouts[0].trajectory.steps}
    assert ActionStatus.INADMISSIBLE in statuses
    assert all(step.action.failure is None for step in group.rollouts[0].trajectory.steps)


def test_trajectories_are_json_and_keep_the_oracle_distance() -> None:
    wanted = tasks(40, oracle_info=True)
    groups = collect(wanted, RandomPolicy(1, COMPACT), protocol=COMPACT)
    deadlocks = 0
    for group in groups:
        trajectory = group.rollouts[0].trajectory
        text = json.dumps(trajectory.to_dict(), allow_nan=False)
        assert Trajectory.from_dict(json.loads(text)) == trajectory
        assert {"anchor", "state_key", "task_id", "split"} <= trajectory.start.keys()
        for step in trajectory.steps:
            assert {"action_status", "won", "score", "anchor", "state_key", "boxes_on_target"} <= step.info.keys()
            assert (step.info["oracle_distance"] is None) == step.info.get("deadlock", False)
            deadlocks += step.info.get("deadlock", False)
    assert deadlocks > 0


def completion(turn: int) -> Completion:
    return Completion((turn,), (1, 2), (-0.1, -0.2), FinishReason.STOP)


class Talking:
    """Answers with tokens; its context holds `room` turns."""

    def __init__(self, room: int = 100) -> None:
        self.room = room

    def act(self, requests: Sequence[TurnRequest]) -> list[TurnReply | RolloutFailure]:
        return [
            TurnReply("<action>up</action>", completion(r.turn))
            if r.turn < self.room
            else TurnReply("", context_full=True)
            for r in requests
        ]

    def close_episode(self, episode: str) -> None:
        pass


def test_completions_travel_in_step_order() -> None:
    (group,) = collect([Task(SOKOBAN, 0, short(3))], Talking(), protocol=COMPACT)
    assert group.rollouts[0].completions == (completion(0), completion(1), completion(2))


@pytest.mark.parametrize("room", [0, 2])
def test_a_full_context_ends_the_episode_without_an_error(room: int) -> None:
    (group,) = collect(tasks(1), Talking(room), protocol=COMPACT)
    (rollout,) = group.rollouts
    assert rollout.trajectory.stop_reason is StopReason.CONTEXT_LIMIT
    assert len(rollout.trajectory.steps) == len(rollout.completions) == room
    assert rollout.failure is None
    assert rollout.trajectory.final_observation


def test_one_episodes_policy_failure_spares_its_siblings() -> None:
    def script(request: TurnRequest) -> str:
        if request.episode.endswith("-1") and request.turn == 2:
            raise ValueError("lost my mind")
        return "up"

    groups = collect(tasks(2), ScriptedPolicy(script, COMPACT), group_size=3, protocol=COMPACT)
    for group in groups:
        assert [r.failure is None for r in group.rollouts] == [True, False, True]
        assert len(group.valid) == 2
        lost = group.rollouts[1]
        assert lost.failure == RolloutFailure("policy", "ValueError", "policy_failed", "ValueError: lost my mind")
        assert lost.trajectory.stop_reason is StopReason.POLICY_ERROR
        assert len(lost.trajectory.steps) == 2


def test_a_policy_that_raises_fails_the_batch_and_the_queue_goes_on() -> None:
    calls: list[int] = []

    def before(requests: Sequence[TurnRequest]) -> None:
        calls.append(len(requests))
        if len(calls) == 2:
            raise ConnectionError("server gone")

    spy = Spy(RandomPolicy(0, COMPACT), before)
    groups = collect(tasks(5, **short(3)), spy, protocol=COMPACT, max_live=2)
    assert [group.rollouts[0].failure is None for group in groups] == [False, False, True, True, True]
    failed = groups[0].rollouts[0]
    assert failed.failure == RolloutFailure(
        "policy", "ConnectionError", "policy_failed", "ConnectionError: server gone"
    )
    assert len(failed.trajectory.steps) == 1
    assert len(spy.closed) == 5


@pytest.mark.parametrize(
    ("replies", "code"), [([], "wrong_length"), ([TurnReply("x")] * 3, "wrong_length"), (["up", "up"], "bad_reply")]
)
def test_nonsense_replies_are_policy_errors(replies: list[Any], code: str) -> None:
    class Nonsense(Talking):
        def act(self, requests: Sequence[TurnRequest]) -> list[TurnReply | RolloutFailure]:
            return replies

    groups = collect(tasks(2), Nonsense(), protocol=COMPACT)
    assert reasons(groups) == [StopReason.POLICY_ERROR] * 2
    assert {rollout.failure.code for group in groups for rollout in group.rollouts if rollout.failure} == {code}


@pytest.mark.parametrize(
    ("fault", "stage", "code", "steps"),
    [("make", "make", "env_make", 0), ("reset", "reset", "env_reset", 0), ("step", "step", "env_step", 2)],
)
def test_a_broken_environment_spares_the_others(fault: str, stage: str, code: str, steps: int) -> None:
    mixed = [Task(FAULTY, 0), Task(FAULTY, 1, {"fault": fault}), Task(FAULTY, 2)]
    spy = Spy(ScriptedPolicy(lambda _: "up", COMPACT))
    groups = collect(mixed, spy, group_size=2, protocol=COMPACT, max_live=3)
    assert [len(group.valid) for group in groups] == [2, 0, 2]
    for rollout in groups[1].rollouts:
        assert rollout.trajectory.stop_reason is StopReason.ENV_ERROR
        assert rollout.failure is not None
        assert (rollout.failure.stage, rollout.failure.type, rollout.failure.code) == (stage, "OSError", code)
        assert len(rollout.trajectory.steps) == steps
        if fault == "step":
            assert rollout.extras == {"unanswered_response": "<action>up</action>"}
    assert FaultySokoban.made == FaultySokoban.closed


def test_an_unknown_environment_and_a_non_text_one_are_named() -> None:
    odd = [Task("palaestra-tests/Nothing-v0", 0), Task(FAULTY, 0, {"fault": "not text"}), Task(SOKOBAN, 0)]
    groups = collect(odd, ExpertPolicy(protocol=COMPACT), protocol=COMPACT)
    failures = [group.rollouts[0].failure for group in groups]
    assert failures[0] is not None
    assert "Nothing" in failures[0].message
    assert failures[0].type == "NameNotFound"
    assert failures[1] is not None
    assert failures[1].code == "not_text"
    assert failures[2] is None


def test_clean_up_that_fails_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Clinging(Spy):
        def close_episode(self, episode: str) -> None:
            raise RuntimeError("cannot let go")

    with caplog.at_level(logging.WARNING):
        groups = collect(tasks(2, FAULTY, fault="close"), Clinging(ExpertPolicy(protocol=COMPACT)), protocol=COMPACT)
    assert reasons(groups) == [StopReason.TERMINATED] * 2
    assert "cannot let go" in caplog.text
    assert "cannot close" in caplog.text


def ticking(step_s: float = 1.0) -> Callable[[], float]:
    now = [0.0]

    def clock() -> float:
        now[0] += step_s
        return now[0]

    return clock


def test_the_collections_deadline_stops_everything_and_loses_nothing() -> None:
    spy = Spy(ScriptedPolicy(lambda _: "up", COMPACT))
    deadlines = Deadlines(total_s=6.0, clock=ticking())
    groups = collect(tasks(6), spy, group_size=2, protocol=COMPACT, max_live=4, deadlines=deadlines)
    assert reasons(groups) == [StopReason.DEADLINE] * 12
    lengths = [len(rollout.trajectory.steps) for group in groups for rollout in group.rollouts]
    assert lengths[:4] == [lengths[0]] * 4
    assert 0 < lengths[0] < 15
    assert lengths[4:] == [0] * 8
    assert all(r.failure and r.failure.code == "deadline" for g in groups for r in g.rollouts)
    assert len(spy.closed) == 4


def test_an_episodes_deadline_stops_that_episode_and_makes_room() -> None:
    deadlines = Deadlines(episode_s=4.0, clock=ticking())
    policy = ScriptedPolicy(lambda _: "up", COMPACT)
    mixed = [Task(SOKOBAN, 0), Task(SOKOBAN, 1, short(2)), Task(SOKOBAN, 2, short(2))]
    groups = collect(mixed, policy, protocol=COMPACT, max_live=1, deadlines=deadlines)
    assert reasons(groups) == [StopReason.DEADLINE, StopReason.TRUNCATED, StopReason.TRUNCATED]


def test_cancellation_stops_between_turns() -> None:
    spy = Spy(ScriptedPolicy(lambda _: "up", COMPACT))
    groups = collect(tasks(3), spy, protocol=COMPACT, max_live=2, cancelled=lambda: len(spy.batches) >= 3)
    assert reasons(groups) == [StopReason.CANCELLED] * 3
    assert [len(group.rollouts[0].trajectory.steps) for group in groups] == [3, 3, 0]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through_after_cleaning_up(interrupt: type[BaseException]) -> None:
    def before(requests: Sequence[TurnRequest]) -> None:
        if requests[0].turn == 2:
            raise interrupt

    spy = Spy(ScriptedPolicy(lambda _: "up", COMPACT), before)
    with pytest.raises(interrupt):
        collect(tasks(3, FAULTY), spy, protocol=COMPACT, max_live=2)
    assert len(spy.closed) == 2
    assert FaultySokoban.made == FaultySokoban.closed == 2


@pytest.mark.parametrize("argument", ["group_size", "max_live"])
def test_a_size_below_one_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match=f"{argument} = 0"):
        collect(tasks(1), RandomPolicy(0), **{argument: 0})  # type: ignore[arg-type]


def test_a_task_that_is_not_json_is_refused_at_once() -> None:
    with pytest.raises(TaskError, match="bad_task"):
        iter_groups([Task(SOKOBAN, 0, {"levels": object()})], RandomPolicy(0))


def test_a_bad_template_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="template"):
        iter_groups(tasks(1), RandomPolicy(0), protocol=TextProtocol(template=tmp_path / "none.txt"))


def test_a_token_counter_that_fails_ends_the_episode_as_data() -> None:
    def count(text: str) -> int:
        raise UnicodeError("unencodable")

    groups = collect(tasks(2), RandomPolicy(0, COMPACT), protocol=COMPACT, count_tokens=count)
    assert reasons(groups) == [StopReason.POLICY_ERROR] * 2
    assert groups[0].rollouts[0].failure == RolloutFailure(
        "prompt", "UnicodeError", "prompt", "UnicodeError: unencodable"
    )


def test_an_episode_that_has_not_stopped_has_no_rollout() -> None:
    pool = StagePool(COMPACT, len, 1)
    task = Task(SOKOBAN, 0)
    episode = LiveEpisode(Slot("id", "group", 0, task), pool.take(task), COMPACT, 0.0)
    with pytest.raises(RolloutError, match="still_live"):
        episode.finish()


def test_a_turn_costs_less_than_a_hundred_microseconds_of_its_own() -> None:
    if sys.gettrace() is not None:
        pytest.skip("a tracer (coverage, debugger) is on, which multiplies the cost of Python code")
    wanted = [Task(SOKOBAN, seed % 4, short(15)) for seed in range(64)]
    env = gymnasium.make(SOKOBAN, disable_env_checker=True, **short(15))

    def bare_s() -> float:
        started = time.process_time()
        for task in wanted:
            env.reset(seed=task.seed)
            for _ in range(15):
                env.step("up")
        return time.process_time() - started

    def rollout_s() -> float:
        started = time.process_time()
        groups = collect(wanted, Talking(), protocol=COMPACT)
        assert sum(len(group.rollouts[0].trajectory.steps) for group in groups) == 64 * 15
        return time.process_time() - started

    overhead_s = min(rollout_s() for _ in range(4)) - min(bare_s() for _ in range(4))
    assert overhead_s / (64 * 15) < 100e-6


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_one_failure_never_changes_another_rollout(data: st.DataObject) -> None:
    """Whichever rollouts fail, at whichever turn, all others are exactly as without failures."""
    broken = data.draw(st.dictionaries(st.integers(0, 5), st.integers(0, 4), min_size=1, max_size=3))
    max_live = data.draw(st.integers(1, 6))
    random_policy = RandomPolicy(5, COMPACT)
    wanted = tasks(3, **short(6))
    order = {f"{task.key}-{member}": 2 * i + member for i, task in enumerate(wanted) for member in range(2)}

    def script(request: TurnRequest) -> str:
        if broken.get(order[request.episode]) == request.turn:
            raise ArithmeticError("planted")
        return random_policy.choose(request)

    clean = collect(wanted, RandomPolicy(5, COMPACT), group_size=2, protocol=COMPACT)
    mixed = collect(wanted, ScriptedPolicy(script, COMPACT), group_size=2, protocol=COMPACT, max_live=max_live)
    for index, (expected, actual) in enumerate(
        zip([r for g in clean for r in g.rollouts], [r for g in mixed for r in g.rollouts], strict=True)
    ):
        reached = index in broken and broken[index] < len(expected.trajectory.steps)
        assert (actual.failure is not None) == reached
        if not reached:
            assert actual == expected
        else:
            assert actual.trajectory.steps == expected.trajectory.steps[: broken[index]]
