#!/bin/sh
# Slurm's TaskProlog: tells the job's tasks where their daemon is. What it prints becomes part
# of their environment. docs/deploying.md has the steps.
set -u
# Slurm gives none.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

settings=${1:-/etc/boardd/slurm.sh}
[ -r "$settings" ] || exit 0
# shellcheck source=settings.sh
. "$settings"

# Without it, clients use their user's own daemon.
if [ -S "$sockets/$SLURM_JOB_ID/boardd.sock" ]; then
  echo "export BOARDD_ADDRESS=unix:$sockets/$SLURM_JOB_ID/boardd.sock"
fi
