"""One module per peer: how it is opened, called and brought to a complete end.

Every module has a class ``Peer`` with the methods of ``interface.Peer``.
"""
