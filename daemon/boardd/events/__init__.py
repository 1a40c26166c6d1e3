"""The event-file format: Event encoding and record framing. No I/O."""
