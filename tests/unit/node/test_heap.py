"""What one thread has freed serves every other."""

from __future__ import annotations

import subprocess
import sys

THREADS = """
import ctypes, threading
from mesyx_core.node.run import share_heap
share_heap()
together = threading.Barrier(8)
def work():
    kept = [bytes(2000) for _ in range(2000)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


if sys.platform == "linux":

    def test_all_threads_share_one_heap() -> None:
        """glibc would make one for each; it tells of them itself."""
        done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.count("<heap nr=") == 1
