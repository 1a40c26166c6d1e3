#!/bin/sh
# Generates the Python code of the .proto files.
#
#   protos/generate.sh PYTHON [OUTPUT]
#
# PYTHON is an interpreter with protos/requirements.txt installed. The code
# goes to OUTPUT, laid out as in the repository; by default into the
# repository, over what is committed.
set -eu
python=$1
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
output=${2:-$root}
mkdir -p "$output/protos" "$output/daemon"

cd "$root"
"$python" -m grpc_tools.protoc -Iprotos \
  --python_out="$output/protos" --pyi_out="$output/protos" --grpc_python_out="$output/protos" \
  boardd_protos/boardd.proto boardd_protos/relay.proto
"$python" -m grpc_tools.protoc -Idaemon \
  --python_out="$output/daemon" --pyi_out="$output/daemon" \
  boardd/events/event.proto boardd/events/exact.proto boardd/events/graph.proto \
  boardd/events/marks.proto boardd/events/plugins.proto boardd/events/projector.proto \
  boardd/partials/partials.proto boardd/runs/journal/journal.proto
