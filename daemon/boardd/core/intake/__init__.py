"""From bytes of a stream or a ring to frames, columns of scalars and whole tensors.

May import: the modules beside intake.
"""
