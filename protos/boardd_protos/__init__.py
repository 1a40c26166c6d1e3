"""The wire contract between training processes and the boardd daemon.

``boardd.proto`` and the code generated from it, the binary frame of a record
(``record``), and the form of an address (``address``). Client and daemon both
import this package and never each other.
"""

#: Versions of the protocol that this package speaks, both ends included.
MIN_PROTOCOL_VERSION = 1
MAX_PROTOCOL_VERSION = 1

__version__ = "0.1.0"
