"""Playing a task again from what an agent said or called, in a fresh episode of the record's world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.conversation import Conversation
from palaestra.envs.tools.evidence import StepEvidence
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.worlds import open_session

Move = AskedCall | str
"""A call, or a piece of a reply as it stands."""
Plan = Sequence[Sequence[Move]]
"""Moves per user turn."""
END_OF_TURN = "Done."


def replay(
    record: TaskRecord, replies: Iterable[str], config: ToolConfig | None = None, *, end_turn: bool = False
) -> tuple[StepEvidence, ...]:
    """What these replies come to, one after another until they or the conversation end.

    With `end_turn` the user turn that the last reply leaves open is ended.

    Raises: TaskError "other_world" if the record was made for another world or other tools; ToolError if no episode
        can be opened.
    Cost: opening an episode (some ms where the world is new to this process), then what the calls cost.
    """
    with conversation(record, config or ToolConfig()) as talk:
        for reply in replies:
            if talk.stop:
                break
            talk.hear(reply)
        if end_turn and not talk.stop and not (talk.steps and talk.steps[-1].turn_over):
            talk.hear(END_OF_TURN)
        return tuple(talk.steps)


def perform(record: TaskRecord, plan: Plan, config: ToolConfig | None = None) -> tuple[StepEvidence, ...]:
    """What these moves come to in a fresh episode; raises and costs as `replay`."""
    with conversation(record, config or ToolConfig()) as talk:
        return carry_out(plan, talk)


def carry_out(plan: Plan, talk: Conversation) -> tuple[StepEvidence, ...]:
    """What these moves come to: a turn's moves are one reply, and a reply without calls ends the turn."""
    for number, moves in enumerate(plan):
        texts = [move if isinstance(move, str) else talk.how.write([move], talk.shelf.schemas) for move in moves]
        if texts and not talk.stop:
            talk.hear("\n".join(texts))
        if talk.turn == number and not talk.stop:
            talk.hear(END_OF_TURN)
    return tuple(talk.steps)


@contextmanager
def conversation(record: TaskRecord, config: ToolConfig) -> Iterator[Conversation]:
    """A conversation over a fresh episode, ended with the block."""
    session = open_session(record, config.door)
    try:
        yield Conversation(record, config, session)
    finally:
        session.close()
