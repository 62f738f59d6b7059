"""A thousand boards in one process: the batched form of the same environment, next-step autoreset included."""

import gymnasium
import numpy as np

import palaestra  # noqa: F401 - importing registers the environments

boards = gymnasium.make_vec(
    "palaestra/SokobanGrid-v0", num_envs=1024, vectorization_mode="vector_entry_point", pool=256
)
observations, infos = boards.reset(seed=0)
rng = np.random.default_rng(0)
won = 0
for _ in range(100):
    observations, rewards, terminated, truncated, infos = boards.step(rng.integers(0, 4, 1024))
    won += int(terminated.sum())

print(f"observations {observations.shape} {observations.dtype}; {won} boards solved by chance in 102,400 moves")
assert observations.shape == (1024, 6, 6)
assert won > 0
boards.close()
