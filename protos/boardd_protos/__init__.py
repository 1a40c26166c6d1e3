"""What client and daemon agree on; both import this package, and never each other.

``boardd.proto`` and the code generated from it, the binary frame of a record (``frame``), the
memory they share (``shared``), and the form of an address (``address``) are the contract.
Rules that both ends apply are here once: ``limits``, ``tags``, ``dtypes``, ``reasons``,
``invalid``, and ``local_socket`` for what guards a Unix socket. ``summary_kind`` names what
rooms of the daemon tell each other.

Rule: nothing here knows either end.
"""

#: Versions of the protocol that this package speaks, both ends included.
MIN_PROTOCOL_VERSION = 1
MAX_PROTOCOL_VERSION = 1
#: What a daemon says it understands within a version, so that clients send an older one nothing
#: that it would reject or take for something else. 1, since 0.2.0: records with summaries of
#: several series, ``TensorSummary.is_scalar``, and ``RunDefinition.tags_as_given``.
REVISION = 1

__version__ = "0.2.0"
