"""The infos of a batch: arrays straight from the kernel's, or, with texts, packed from one dictionary each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from palaestra.envs.core.text.vector import pack_infos
from palaestra.envs.sokoban.config import SokobanConfig
from palaestra.envs.sokoban.episode import (
    INADMISSIBLE,
    NOT_IN_LANGUAGE,
    OK,
    ActionLanguage,
    action_name,
    numbers,
    outcome,
    texts,
)
from palaestra.envs.sokoban.kernels import Boards, Flags, Ints
from palaestra.envs.sokoban.render import draw_texts


@dataclass(slots=True)
class Outcome:
    """What one step did: the codes asked for, and per environment whether and how it stepped."""

    codes_NA: Ints
    stepped_N: Flags
    known_N: Flags
    listed_N: Flags
    moved_player_N: Flags
    moved_box_N: Flags
    solved_N: Flags
    limit_N: Flags
    reward_N: npt.NDArray[np.float64]

    @classmethod
    def blank(cls, codes_NA: Ints, stepped_N: Flags, known_N: Flags) -> Self:
        """Before anything was executed."""
        no = np.zeros(len(known_N), np.bool_)
        return cls(
            codes_NA, stepped_N, known_N, ~no, no, no.copy(), no.copy(), no.copy(), np.zeros(len(known_N), np.float64)
        )

    @property
    def valid_N(self) -> Flags:
        """Known and listed."""
        return self.known_N & self.listed_N


@dataclass(frozen=True)
class BatchReport:
    """Writes infos as the single environment would, in Gymnasium's batched layout."""

    config: SokobanConfig
    language: ActionLanguage
    width: int

    def write(
        self, boards: Boards, steps_N: Ints, courses_N: npt.NDArray[Any], done: Outcome | None, said_N: Flags
    ) -> dict[str, Any]:
        """Infos of the environments `said_N`; `done` is None after a reset of all."""
        if self.config.info == "numeric":
            return self._arrays(boards, steps_N, done, said_N)
        dicts = self._dicts(boards, steps_N, courses_N, done, said_N)
        return pack_infos(dicts)

    def _arrays(self, boards: Boards, steps_N: Ints, done: Outcome | None, said_N: Flags) -> dict[str, Any]:
        infos = _masked(
            said_N,
            {
                "won": boards.on_target_N == boards.boxes_N,
                "score": boards.on_target_N / boards.boxes_N,
                "step": steps_N.copy(),  # the environment goes on writing into these three
                "boxes_on_target": boards.on_target_N.copy(),
                "num_boxes": boards.boxes_N.copy(),
            },
        )
        if done is None:
            return infos
        stepped_N = said_N & done.stepped_N
        valid_N = done.valid_N
        infos |= _masked(
            stepped_N,
            {
                "action_valid": valid_N,
                "action_admissible": valid_N.copy(),
                "action.moved_player": done.moved_player_N,
                "action.moved_box": done.moved_box_N,
            },
        )
        over_N = stepped_N & (done.solved_N | done.limit_N)
        return infos | _masked(over_N, {"maxsteps_used": done.limit_N, "all_boxes_on_target": done.solved_N.copy()})

    def _dicts(
        self, boards: Boards, steps_N: Ints, courses_N: npt.NDArray[Any], done: Outcome | None, said_N: Flags
    ) -> list[dict[str, Any] | None]:
        anchors = draw_texts(boards.cells_NC, self.width, self.config.text_style)
        infos: list[dict[str, Any] | None] = [None] * len(steps_N)
        steps, on_target, players = steps_N.tolist(), boards.on_target_N.tolist(), boards.player_N.tolist()
        happened = [None] * len(steps) if done is None else _happenings(done)
        packed, size = boards.cells_NC.tobytes(), boards.cells_NC.shape[1]
        for i in np.flatnonzero(said_N).tolist():
            cells, course = packed[i * size : (i + 1) * size], courses_N[i]
            info = numbers(course, steps[i], on_target[i])
            if (what := happened[i]) is not None:
                info |= what
            listing = self.language.listing(cells, players[i], self.width)
            infos[i] = info | texts(course, anchors[i], cells, listing)
        return infos


def _happenings(done: Outcome) -> list[dict[str, Any] | None]:
    """What only a step says, per environment; None where none was made."""
    columns = (done.stepped_N, done.known_N, done.listed_N, done.moved_player_N, done.moved_box_N, done.solved_N)
    rows = zip(*(column.tolist() for column in (*columns, done.limit_N, done.codes_NA)), strict=True)
    infos: list[dict[str, Any] | None] = []
    for stepped, known, listed, moved_player, moved_box, solved, limit, codes in rows:
        if not stepped:
            infos.append(None)
            continue
        status = NOT_IN_LANGUAGE if not known else OK if listed else INADMISSIBLE
        info = outcome(status, moved_player, moved_box)
        info["action_status"] = status
        info["action.name"] = action_name(tuple([code for code in codes if code >= 0]))
        if solved or limit:
            info |= {"maxsteps_used": limit, "all_boxes_on_target": solved}
        infos.append(info)
    return infos


def _masked(mask_N: Flags, values: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Values where the mask is set, zero elsewhere, and the masks (one array, shared); nothing if the mask is empty."""
    if not mask_N.any():
        return {}
    if not mask_N.all():
        values = {key: value_N * mask_N for key, value_N in values.items()}
    return values | dict.fromkeys([f"_{key}" for key in values], mask_N)
