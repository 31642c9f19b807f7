"""A search and the writing of shards are killed at random moments, and go on: a part of benchmarks/kills.py."""

import json
import subprocess
import sys
from pathlib import Path

KILLS = Path(__file__).parent.parent / "benchmarks" / "kills.py"


def test_killed_at_any_moment(tmp_path):
    command = [sys.executable, str(KILLS), "--kills", "3", "--jobs", "tune", "shards", "--out", str(tmp_path / "table")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table = json.loads((tmp_path / "table").read_text())
    assert [(row["job"], row["kills"], row["failed"], row["lost"], row["left"]) for row in table] == [
        ("tune", 2, 0, 0, 0),
        ("shards", 1, 0, 0, 0),
    ]
