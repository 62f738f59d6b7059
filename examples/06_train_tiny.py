"""A whole training run in seconds: clone an expert a little, then RL, with held-out success before and after.

Far too short to say how well it learns; `palaestra train sokoban` is the real thing, with the same functions.
"""

import tempfile
from pathlib import Path

from palaestra.cli.train import describe_gain
from palaestra.trainers.config import read_recipe
from palaestra.trainers.experiment import Experiment
from palaestra.trainers.run_directory import RunFiles

SHORT = [
    "env.kwargs.max_len=3", "env.kwargs.max_steps=6", "warmup.tasks=300", "warmup.num_train_epochs=4",
    "rl.iterations=6", "rl.tasks_per_step=16", "evaluation.valid_tasks=16", "evaluation.test_tasks=64", "threads=1",
]  # fmt: skip

with tempfile.TemporaryDirectory() as folder:
    experiment = Experiment.create(Path(folder) / "tiny", read_recipe("sokoban", SHORT))
    summary = experiment.run()
    for record in RunFiles(Path(folder) / "tiny").metrics():
        if record.get("phase") == "rl":
            print(f"iteration {record['step']}: success {record['success']:.2f}, loss {record['loss']:+.4f}")

print(describe_gain(summary["held_out"]))
assert summary["held_out"]["n"] == 64
assert summary["stopped"] == "finished"
