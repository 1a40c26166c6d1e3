"""What the benchmarks of training loops, throughput, faults and freshness share."""
