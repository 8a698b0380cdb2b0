#!/bin/sh
# Starts the release build in the foreground, and prints its URL once it listens.
set -eu
bin="${CARGO_TARGET_DIR:-target}/release/branchline"
state="${STATE_DIR:-./var}"
rm -f "$state/listen.json"
"$bin" "$@" &
pid=$!
trap 'kill -TERM $pid 2>/dev/null || true' INT TERM
while kill -0 "$pid" 2>/dev/null && [ ! -s "$state/listen.json" ]; do sleep 0.1; done
if [ -s "$state/listen.json" ]; then
    http=$(sed -n 's/.*"http":"\([^"]*\)".*/\1/p' "$state/listen.json")
    echo "REST API: http://$http/v1   (description: http://$http/v1/openapi.json)"
    echo "Try:      curl http://$http/health"
fi
wait "$pid"
