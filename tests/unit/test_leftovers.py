"""What a killed process has left goes when the next one comes, and nothing else."""

import os
import signal
import subprocess
import sys
import time

from kexian_utils import _leftovers

MAKE = (
    "import sys, time; from pathlib import Path; from kexian_utils import _leftovers\n"
    "print(_leftovers.new_folder('work-', Path(sys.argv[1])), flush=True); time.sleep(60)"
)


def test_what_a_killed_process_left_goes_and_what_lives_stays(tmp_path):
    made = []
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", MAKE, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        made.append((child, child.stdout.readline().strip()))
    (killed, left), (living, used) = made
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    foreign = tmp_path / f"work-{killed.pid}-x.txt"  # not a name that we give
    foreign.write_text("")
    fresh = _leftovers.new_folder("work-", tmp_path)
    assert os.path.isdir(left)  # it may be of another machine: only after an hour
    old = time.time() - 2 * _leftovers.HOUR
    for path in (left, used, foreign, fresh):
        os.utime(path, (old, old))
    partial = tmp_path / f".big.{killed.pid}.part"
    partial.mkdir()
    os.utime(partial, (old, old))
    _leftovers.new_folder("work-", tmp_path)
    assert not os.path.exists(left)
    assert os.path.isdir(used)
    assert foreign.exists()
    assert fresh.is_dir()
    _leftovers.sweep(tmp_path, r"\.big\.(\d+)\.part")
    assert not partial.exists()
    _leftovers.sweep(tmp_path / "nowhere", r"(\d+)")
    living.kill()
    living.wait()
