"""Makes the embedded tasks: `python -m palaestra.envs.tools.synthesis.embedded envs/tools/data/tasks.jsonl.gz`.

600 conversations to train on, 100 to validate and 200 to test with, over all servers. The file is a pure function of
the package.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path
from typing import Final

from palaestra.envs.tools.synthesis.pipeline import SynthConfig, synthesise

CONFIG: Final = SynthConfig(train=600, valid=100, test=200, seed=0)


def main(target: Path) -> None:
    """Write the embedded set to a gzipped file without the time in it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "tasks.jsonl"
        synthesise(CONFIG, made)
        target.write_bytes(gzip.compress(made.read_bytes(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
