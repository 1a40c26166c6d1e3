"""One client's records from arrival to acknowledgement, rejections and drops included.

May import: intake, runs, the modules beside session.
"""
