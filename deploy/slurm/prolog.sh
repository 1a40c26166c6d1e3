#!/bin/sh
# Slurm's Prolog: starts a daemon for the job, as its user. What a job's own processes start
# ends with them, before it has written everything. docs/deploying.md has the steps.
#
# It never fails: a node whose prolog fails takes no more jobs. What goes wrong is in the system's
# log, and in the job's directory what the daemon has said.
set -u
# Slurm gives none.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

settings=${1:-/etc/boardd/slurm.sh}
[ -r "$settings" ] || exit 0
# shellcheck source=settings.sh
. "$settings"

say() {
  echo "boardd: job $SLURM_JOB_ID: $*" >&2
  logger -t boardd -p daemon.err -- "job $SLURM_JOB_ID: $*" 2>/dev/null
}

directory=$sockets/$SLURM_JOB_ID
# Beside the job's directory, where no user can put a link in its way.
errors=$directory.errors
said=$(mkdir -p "$(dirname "$sockets")" 2>&1 && mkdir -m 0755 "$sockets" 2>&1)
found=$(LC_ALL=C stat -c '%F of %u' "$sockets" 2>/dev/null)
if [ -z "$found" ]; then
  say "no daemon is started: $sockets cannot be made: $said"
  exit 0
fi
# Where anybody may make it, another user may have been first.
if [ "$found" != "directory of $(id -u)" ]; then
  say "no daemon is started: $sockets is not this user's directory; remove it"
  exit 0
fi
[ "$(stat -f -c %T "$sockets")" = tmpfs ] ||
  say "$sockets is not in memory: what killed tasks have logged is not written at the job's end"
if ! install -d -m 0700 -o "$SLURM_JOB_UID" "$directory" ||
  ! : >"$errors"; then
  say "no daemon is started: $directory cannot be made"
  exit 0
fi

set --
[ "$(id -u)" = "$SLURM_JOB_UID" ] || set -- runuser -u "$SLURM_JOB_USER" --
# In a session of its own: Slurm ends the prolog's processes when it is over. The log is opened
# by the user, for it lies in the user's directory.
# shellcheck disable=SC2016
setsid "$@" sh -c \
  'BOARDD_LOGDIR_ROOT=$1 exec "$2" --socket "$3/boardd.sock" >>"$3/boardd.log" 2>&1' \
  boardd "$roots" "$program" "$directory" </dev/null >/dev/null 2>"$errors" &
daemon=$!

# So that no client of the job starts another one meanwhile.
tries=0
while [ ! -S "$directory/boardd.sock" ] && kill -0 "$daemon" && [ "$tries" -lt 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
done 2>/dev/null
if [ ! -S "$directory/boardd.sock" ]; then
  said=$(cat "$errors"; "$@" tail -n 3 "$directory/boardd.log" 2>&1)
  say "its daemon $program does not serve yet: $said"
fi
rm -f -- "$errors"
exit 0
