#!/usr/bin/env bash
# Process 1's child: makes the volume the user's, then runs the given command, or waits, and stops runs politely when
# the container is stopped. BIN is where `as-user` and `fluxgym-tui` are.
set -euo pipefail
bin=${BIN:-/usr/local/bin}
workspace=${FLUXGYM_HOME:-/workspace}

for folder in "" models datasets outputs configs huggingface .home; do
  mkdir -p "$workspace/$folder"
  # Not into the depth: terabytes of models may lie there, and what is in them is the user's own affair.
  if [ "$(id -u)" = 0 ] && [ "${PUID:-0}" != 0 ]; then
    chown "$PUID:${PGID:-$PUID}" "$workspace/$folder"
  fi
done

if [ $# -gt 0 ]; then
  exec "$bin/as-user" "$@"
fi

stop_runs() {
  trap - TERM INT
  "$bin/fluxgym-tui" stop --all --wait "${STOP_WAIT_S:-150}" || true
  kill "$waiting" 2>/dev/null || true
  exit 0
}
sleep infinity &
waiting=$!
trap stop_runs TERM INT

echo "fluxgym-tui is ready. The app: docker exec -it ${HOSTNAME:-CONTAINER} app"
wait "$waiting"
