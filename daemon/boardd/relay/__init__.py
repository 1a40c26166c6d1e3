"""From a host's daemon to the one that makes the points of all hosts.

The seam is ``relay.Relay``: delivery that is durable, at least once and ordered for each
producer, and nothing else. That a contribution counts once is the business of its two ends.

Rule: carries batches and does not look into them. It knows no run, no group and no journal.

May import: errors.
"""
