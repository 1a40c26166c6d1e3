"""boardd's client: TensorBoard logging that costs training next to nothing.

>>> from boardd_client import SummaryWriter
>>> with SummaryWriter("logs/run1") as sw:
...     sw.add_scalar("loss", 0.5, global_step=1)
"""

from boardd_protos import __version__

from boardd_client.errors import BoarddError, CaptureError
from boardd_client.session.counters import Statistics
from boardd_client.session.flush_result import FlushResult
from boardd_client.writer import SummaryWriter

__all__ = [
    "BoarddError",
    "CaptureError",
    "FlushResult",
    "Statistics",
    "SummaryWriter",
    "__version__",
]
