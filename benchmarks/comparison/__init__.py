"""boardd measured beside its peers: environments, workloads, workers, tables."""
