"""One step of a whole batch of boards, twice: a loop for numba, masked index arithmetic for NumPy. Same results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from palaestra.envs.sokoban.compiled import HAVE_NUMBA, compiled

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Boards:
    """N boards of one size, changed in place.

    Attributes:
        cells_NC: uint8 [N, H * W], codes as in `core`.
        player_N: int64, cell of the player.
        on_target_N, boxes_N: int64, boxes on targets, boxes.
    """

    cells_NC: Cells
    player_N: Ints
    on_target_N: Ints
    boxes_N: Ints


class Advance(Protocol):
    """Apply `codes_N` to the boards where `active_N`; write what happened into the last three arrays."""

    def __call__(
        self,
        boards: Boards,
        codes_N: Ints,
        active_N: Flags,
        width: int,
        moved_N: Flags,
        pushed_N: Flags,
        change_N: Ints,
    ) -> None:
        """One step."""
        ...


ARRIVED: Final = np.array([0, 5, 6, 6, 5, 0, 0], np.uint8)
"""What the cell ahead becomes when the player enters it, by its code before."""


@compiled
def _advance_loop(
    cells_NC: Cells,
    player_N: Ints,
    on_target_N: Ints,
    codes_N: Ints,
    active_N: Flags,
    width: int,
    moved_N: Flags,
    pushed_N: Flags,
    change_N: Ints,
) -> None:
    for i in range(len(player_N)):
        moved_N[i] = False
        pushed_N[i] = False
        change_N[i] = 0
        action = codes_N[i]
        if not active_N[i] or action == 0:
            continue
        heading = (action - 1) % 4
        offset = width if heading < 2 else 1
        if heading % 2 == 0:
            offset = -offset
        here = player_N[i]
        ahead = here + offset
        code = cells_NC[i, ahead]
        if code == 3 or code == 4:
            if action > 4:
                continue
            landing = cells_NC[i, ahead + offset]
            if landing != 1 and landing != 2:
                continue
            cells_NC[i, ahead + offset] = 5 - landing
            pushed_N[i] = True
            change_N[i] = (1 if landing == 2 else 0) - (1 if code == 3 else 0)
            on_target_N[i] += change_N[i]
        elif code != 1 and code != 2:
            continue
        cells_NC[i, ahead] = 6 if code == 2 or code == 3 else 5
        cells_NC[i, here] -= 4
        player_N[i] = ahead
        moved_N[i] = True


def advance_numba(
    boards: Boards, codes_N: Ints, active_N: Flags, width: int, moved_N: Flags, pushed_N: Flags, change_N: Ints
) -> None:
    """`Advance` as one compiled loop: tens of millions of steps per CPU-second."""
    _advance_loop(
        boards.cells_NC, boards.player_N, boards.on_target_N, codes_N, active_N, width, moved_N, pushed_N, change_N
    )


def advance_numpy(
    boards: Boards, codes_N: Ints, active_N: Flags, width: int, moved_N: Flags, pushed_N: Flags, change_N: Ints
) -> None:
    """`Advance` without numba: a dozen array operations, whatever the batch."""
    offsets = np.array([0, -width, width, -1, 1, -width, width, -1, 1])[codes_N]
    flat = boards.cells_NC.reshape(-1)
    here_N = np.arange(len(codes_N)) * boards.cells_NC.shape[1] + boards.player_N
    ahead_N = here_N + offsets
    code_N = flat[ahead_N]
    landing_N = flat.take(ahead_N + offsets, mode="clip")  # beyond a border wall there may be nothing; then unused
    acts_N = active_N & (codes_N > 0)
    pushed_N[:] = acts_N & (codes_N <= 4) & ((code_N == 3) | (code_N == 4)) & ((landing_N == 1) | (landing_N == 2))
    moved_N[:] = pushed_N | (acts_N & ((code_N == 1) | (code_N == 2)))
    pushes, moves = np.flatnonzero(pushed_N), np.flatnonzero(moved_N)
    flat[(ahead_N + offsets)[pushes]] = 5 - landing_N[pushes]
    flat[ahead_N[moves]] = ARRIVED[code_N[moves]]
    flat[here_N[moves]] -= 4
    boards.player_N[moves] += offsets[moves]
    change_N[:] = pushed_N * ((landing_N == 2).astype(np.int64) - (code_N == 3))
    boards.on_target_N += change_N


BACKENDS: Final[dict[str, Advance]] = {"numpy": advance_numpy} | ({"numba": advance_numba} if HAVE_NUMBA else {})
DEFAULT_BACKEND: Final = "numba" if HAVE_NUMBA else "numpy"


def mix_batch(root_N: npt.NDArray[np.uint64], episode_N: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`sources.mix` for a batch."""
    z = root_N + (episode_N + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = z ^ z >> np.uint64(31)
    return mixed
