"""A worker that differs: other clocks, another version.

python odd_worker.py MASTER TOKEN_FILE FOLDER MONOTONIC_OFFSET WALL_OFFSET IDENTITY
"""

import sys
import time
from pathlib import Path

from loadtests.runners.link import identity
from loadtests.runners.member import Manner, take_part

master, token, folder, monotonic, wall, name = sys.argv[1:]
manner = Manner(
    identity=name or identity(),
    monotonic=lambda: time.monotonic() + float(monotonic),
    wall=lambda: time.time() + float(wall),
)
code, reason = take_part(master, Path(token), Path(folder), manner)
print(reason, file=sys.stderr)
sys.exit(code)
