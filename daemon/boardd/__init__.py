"""The boardd daemon: takes records from training processes, writes event files."""
