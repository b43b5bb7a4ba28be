"""The other side of `convolutions.py`: oneDNN's convolutions through PyTorch, in a Python of its own.

Run by `convolutions.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

import os
import time

import torch
from answering import answer

THREADS = len(os.sched_getaffinity(0))
torch.set_num_threads(THREADS)


class Peer:
    """One layer at a time, as the networks in PyTorch have it: NCHW, float32."""

    def versions(self) -> dict:
        """Of what computes."""
        return {"torch": torch.__version__, "onednn": torch.backends.mkldnn.is_available(), "threads": THREADS}

    def layer(self, batch: int, size: int, channels: int, filters: int, kernel: int, stride: int) -> dict:
        """Makes its arrays."""
        x, k = torch.randn(batch, channels, size, size), torch.randn(filters, channels, kernel, kernel)
        pad = kernel // 2
        y = torch.nn.functional.conv2d(x, k, stride=stride, padding=pad)

        def backward(*wanted: bool):
            return torch.ops.aten.convolution_backward(
                y, x, k, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, [*wanted, False]
            )

        self._maps = {
            "output": lambda: torch.nn.functional.conv2d(x, k, stride=stride, padding=pad),
            "image": lambda: backward(True, False),
            "kernel": lambda: backward(False, True),
        }
        for work in self._maps.values():
            work()
        return {}

    def seconds(self, of: str, times: int) -> dict:
        """Of the processor, the mean of so many calls of one map of the layer."""
        with torch.no_grad():
            began = time.process_time()
            for _ in range(times):
                self._maps[of]()
            return {"seconds": (time.process_time() - began) / times}


if __name__ == "__main__":
    answer(Peer())
