"""Threads, sockets and processes: how a session reaches its daemon.

``senders`` keeps one ``Sender`` for each address. Its ``SenderThread`` works in
rounds at a ``Pace``; its ``Connector`` performs what ``session.connection_state``
decides, over a ``Connection``: gRPC, or a subprocess that uses gRPC. Maps go to a
daemon of this host by ``map_handover``, and ``autostart`` starts one.

Nothing in here raises in training code, takes part in a call that logs, or is
started before something is logged. May import ``session``, ``memory``, ``errors``
and ``environment``; is imported by ``run`` and ``writer`` alone.
"""
