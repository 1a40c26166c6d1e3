#!/bin/sh
# Slurm's Epilog: ends the job's daemon, which writes what it holds, and removes the job's
# directory when nothing in it is left to write. docs/deploying.md has the steps.
#
# It never fails: a node whose epilog fails takes no more jobs. What goes wrong is in the system's
# log.
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

as_user() {
  if [ "$(id -u)" = "$SLURM_JOB_UID" ]; then "$@"; else runuser -u "$SLURM_JOB_USER" -- "$@"; fi
}

directory=$sockets/$SLURM_JOB_ID
socket=$directory/boardd.sock
[ -d "$directory" ] || exit 0
# Another user's, that the prolog has not taken.
[ "$(LC_ALL=C stat -c '%F of %u' "$sockets")" = "directory of $(id -u)" ] || exit 0

# A daemon holds this lock from its start to its end.
is_served() {
  [ -e "$socket.lock" ] || return
  as_user flock --nonblock --conflict-exit-code 75 "$socket.lock" true
  [ $? -eq 75 ]
}

# Clients' records lie there until a daemon has written them, also when it was killed or its time
# ran out. What a daemon has set aside is none of them.
holds_logs() {
  [ -n "$(find "$directory/log" -type f ! -name '*.set-aside' -print -quit 2>/dev/null)" ]
}

stop() { as_user "$program" stop --socket "$socket" --timeout 60 >/dev/null; }

stop
# Also what ranks have logged together is finished, which is noted there.
if ! is_served && { holds_logs || [ -e "$socket.groups" ]; }; then
  rm -f -- "$socket" # that of a killed daemon, which nobody serves
  as_user env BOARDD_LOGDIR_ROOT="$roots" "$program" --socket "$socket" --idle-exit 60 &
  daemon=$!
  tries=0
  while { holds_logs || [ ! -S "$socket" ]; } && kill -0 "$daemon" && [ "$tries" -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done 2>/dev/null
  stop
fi

if is_served; then
  say "its daemon still writes; $directory is kept"
elif holds_logs; then
  say "records in $directory/log could not be written; it is kept. To write them, run as" \
    "$SLURM_JOB_USER: BOARDD_LOGDIR_ROOT='$roots' $program --socket $socket --idle-exit 2"
else
  rm -rf -- "$directory"
fi
exit 0
