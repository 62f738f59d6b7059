"""A policy of your own: answer a batch of turns. Here: breadth-first search on the board the agent is shown."""

from collections import deque

from palaestra.agents.policies.base import TurnRequest
from palaestra.agents.policies.solo import SoloPolicy
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.trainers.evaluate import evaluate, held_out_tasks

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


class SearchPolicy(SoloPolicy):
    """Reads the text board ('#' wall, 'O' target, 'X' box, 'P' player) and takes the first step of a shortest plan."""

    def choose(self, request: TurnRequest) -> str:
        cells = {(r, c): s for r, row in enumerate(request.observation.splitlines()) for c, s in enumerate(row)}
        player = next(at for at, symbol in cells.items() if symbol in "PS")
        boxes = frozenset(at for at, symbol in cells.items() if symbol in "X√")
        targets = {at for at, symbol in cells.items() if symbol in "OS√"}
        queue, seen = deque([(player, boxes, "")]), {(player, boxes)}
        while queue:
            player, boxes, first = queue.popleft()
            if boxes <= targets:
                return first
            for word, (down, right) in MOVES.items():
                to = (player[0] + down, player[1] + right)
                beyond = (to[0] + down, to[1] + right)
                if cells[to] == "#" or (to in boxes and (cells[beyond] == "#" or beyond in boxes)):
                    continue
                state = (to, boxes - {to} | {beyond} if to in boxes else boxes)
                if state not in seen:
                    seen.add(state)
                    queue.append((*state, first or word))
        return request.admissible[0]

    def close_episode(self, episode: str) -> None:
        pass  # nothing is remembered between turns


protocol = TextProtocol(style="compact")
tasks = held_out_tasks("palaestra/Sokoban-v0", {}, "test", 32, seed=0)
result = evaluate(SearchPolicy(protocol), tasks, protocol)
for stratum, rate in result.by_stratum().items():
    print(f"{stratum:>5} moves: {rate.won}/{rate.episodes} won, 95 % interval {rate.lo:.2f} to {rate.hi:.2f}")
assert result.won.all()
