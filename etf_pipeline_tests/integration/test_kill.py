"""SIGKILL at every step of a publish: readers see whole files, the next run converges."""

import json
import subprocess
import sys


def test_sigkill_at_every_step(tmp_path):
    out = subprocess.run(
        [sys.executable, "-m", "etf_pipeline_tests.integration.kill_loop", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    summary = json.loads(out.stdout.splitlines()[-1])
    assert summary["kills"] >= 60
    assert summary["steps"] > 20
    assert summary["read"] > summary["kills"]  # somebody was reading all the while
