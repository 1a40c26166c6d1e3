"""The ``add_*`` calls of ``SummaryWriter``, by what they log.

``distributions``: histograms, precision-recall curves, tensors. ``media``: images,
figures, videos, audio, text. ``spaces``: embeddings and meshes. ``experiments``:
graphs, hyperparameters, the layout of charts. ``scalars``: scalars, all but ``add_scalar``
itself, which is in ``boardd_client.writer``. ``ready``: messages of TensorFlow's.

Rule: one user call is checked, described and handed over. No thread, no clock, no I/O, and
no wait for the data.

May import: capture.
"""

from boardd_client.calls.distributions import DistributionCalls
from boardd_client.calls.experiments import ExperimentCalls
from boardd_client.calls.media import MediaCalls
from boardd_client.calls.ready import ReadyCalls
from boardd_client.calls.scalars import ScalarCalls
from boardd_client.calls.spaces import SpaceCalls

__all__ = [
    "DistributionCalls",
    "ExperimentCalls",
    "MediaCalls",
    "ReadyCalls",
    "ScalarCalls",
    "SpaceCalls",
]
