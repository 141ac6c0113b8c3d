"""What one thread has freed serves every other."""

from __future__ import annotations

import subprocess
import sys

THREADS = """
import re, threading
from mesyx_core.node.run import share_heap
share_heap()
together = threading.Barrier(8)
def work():
    kept = [bytes(2000) for _ in range(2000)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
spans = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \\S+ 00:00 0 *$", open("/proc/self/maps").read(), re.M)
print(sum(int(start, 16) % (64 << 20) == 0 for start, _ in spans))
"""


if sys.platform == "linux":

    def test_all_threads_share_one_heap() -> None:
        """glibc would make a heap for each, at a multiple of 64 MiB."""
        done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "0\n"
