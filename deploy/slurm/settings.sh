# shellcheck shell=sh disable=SC2034
# Settings of Slurm's scripts for boardd: /etc/boardd/slurm.sh on each node.

# The daemon, the same on all nodes.
program=/opt/boardd/bin/boardd
# A directory for each job's socket, and for what its tasks have logged, is made below it. It lies
# in memory: on a disk, what killed tasks have logged would be elsewhere.
memory=/run
[ "$(stat -f -c %T "$memory")" = tmpfs ] || memory=/dev/shm
sockets=$memory/boardd-jobs
# Where jobs may log, separated by colons. Their users' rights are what confines them.
roots=/
