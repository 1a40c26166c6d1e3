#!/bin/sh
# Slurm's Epilog: ends the job's daemon, which writes what it holds. docs/deploying.md has the
# steps.
#
# It never fails: a node whose epilog fails takes no more jobs.
set -u

settings=${1:-/etc/boardd/slurm.sh}
[ -r "$settings" ] || exit 0
# shellcheck source=settings.sh
. "$settings"

as_user() {
  if [ "$(id -u)" = "$SLURM_JOB_UID" ]; then "$@"; else runuser -u "$SLURM_JOB_USER" -- "$@"; fi
}

directory=$sockets/$SLURM_JOB_ID
[ -d "$directory" ] || exit 0

as_user "$program" stop --socket "$directory/boardd.sock" --timeout 60
# 3: it has left by itself. One that still writes keeps its directory.
case $? in
  0 | 3) rm -rf -- "$directory" ;;
esac
exit 0
