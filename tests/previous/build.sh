#!/bin/sh
# Builds the wheel of an earlier version into this directory, in place of the one that is there.
#
#   tests/previous/build.sh REVISION
#
# REVISION is the last commit of the minor version before the present one. The wheel is built by
# the setuptools of .venv; nothing is downloaded.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git -C "$root" archive "$1" | tar -x -C "$source"
rm -f "$here"/*.whl
"$root/.venv/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation \
  --wheel-dir "$here" "$source"
