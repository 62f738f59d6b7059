"""An environment is a Gymnasium environment: make, reset, step. Here its own oracle plays."""

import gymnasium

import palaestra  # noqa: F401 - importing registers the environments

env = gymnasium.make("palaestra/Sokoban-v0", size=6, min_len=5, max_len=9)
observation, info = env.reset(seed=7, options={"split": "test"})
print(observation, "\nmay do:", ", ".join(info["admissible_commands"]))

total, over = 0.0, False
for action in env.unwrapped.plan():
    observation, reward, terminated, truncated, info = env.step(action)
    total += reward
    over = terminated or truncated

print(f"\n{observation}\nwon: {info['won']} after {info['step']} moves, return {total:.1f}")
assert over
assert info["won"]
env.close()
