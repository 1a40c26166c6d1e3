# shellcheck shell=sh disable=SC2034
# Settings of Slurm's scripts for boardd: /etc/boardd/slurm.sh on each node.

# The daemon, the same on all nodes.
program=/opt/boardd/bin/boardd
# A directory for each job's socket is made below it, in memory.
sockets=/run/boardd-jobs
# Where jobs may log, separated by colons. Their users' rights are what confines them.
roots=/
