#!/usr/bin/env bash
# The start script for templates of RunPod, Vast and their kin: rental.sh [--no-wait].
#
# In our own image it opens SSH where PUBLIC_KEY (or SSH_PUBLIC_KEY) is given. In any other image with Python 3.11+ it
# first installs the program from this checkout, into an environment on the volume that lasts and uses the image's own
# PyTorch. Then `fluxgym-tui` and `app` work in every login shell, and it waits, as a container's command has to.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
root=${ROOT:-}                                   # for a try in a folder: where /etc and /root would be
workspace=${WORKSPACE:-/workspace}
[ -d "$workspace" ] || workspace=$HOME/fluxgym
mkdir -p "$workspace"
export FLUXGYM_HOME=${FLUXGYM_HOME:-$workspace} HF_HOME=${HF_HOME:-$workspace/huggingface} PUID=0

if command -v fluxgym-tui >/dev/null 2>&1; then
  bin=$(dirname "$(command -v fluxgym-tui)")
else
  bin=$workspace/.fluxgym-tui/bin
  # Both are there once all was done: an installation that broke off is made anew.
  if [ ! -x "$bin/fluxgym-tui.program" ] || [ ! -x "$bin/fluxgym-tui" ]; then
    python=${PYTHON:-python3}
    echo "Installing fluxgym-tui into $workspace/.fluxgym-tui, once ..." >&2
    "$python" -m venv --system-site-packages "$workspace/.fluxgym-tui"
    "$bin/python" -m pip install --quiet --disable-pip-version-check "$source[${EXTRAS:-train,caption,optimizers}]"
    mv "$bin/fluxgym-tui" "$bin/fluxgym-tui.program"
    for name in as-user app; do install -m 755 "$source/docker/$name" "$bin/$name"; done
    printf '#!/bin/sh\nexec "%s/as-user" "%s/fluxgym-tui.program" "$@"\n' "$bin" "$bin" > "$bin/fluxgym-tui.new"
    chmod 755 "$bin/fluxgym-tui.new"
    mv "$bin/fluxgym-tui.new" "$bin/fluxgym-tui"
  fi
  if ! command -v tmux >/dev/null 2>&1 && [ -z "$root" ]; then
    (apt-get update -qq && apt-get install -qq -y tmux) >/dev/null 2>&1 || echo "no tmux here: the app runs without" >&2
  fi
fi

# A login shell does not get the container's variables. Secrets are read from process 1 when one logs in, and written
# to no file.
mkdir -p "$root/etc/profile.d"
cat > "$root/etc/profile.d/fluxgym-tui.sh" <<END
export FLUXGYM_HOME='$FLUXGYM_HOME' HF_HOME='$HF_HOME' PUID=0 PATH="$bin:\$PATH"
for name in HF_TOKEN HF_ENDPOINT OPENAI_API_KEY RUNPOD_POD_ID RUNPOD_API_KEY CONTAINER_ID CONTAINER_API_KEY; do
  value=\$(tr '\\0' '\\n' < /proc/1/environ 2>/dev/null | sed -n "s/^\$name=//p")
  if [ -n "\$value" ]; then export "\$name=\$value"; fi
done
unset name value
case \$- in *i*) [ -n "\${TMUX:-}" ] || echo "fluxgym-tui: type  app  (it comes back where you left it)" ;; esac
END
# Bash that is no login shell (Vast's tmux) reads this one.
mkdir -p "$root/root"
touch "$root/root/.bashrc"
grep -q fluxgym-tui.sh "$root/root/.bashrc" || echo ". /etc/profile.d/fluxgym-tui.sh" >> "$root/root/.bashrc"

key=${PUBLIC_KEY:-${SSH_PUBLIC_KEY:-}}
if [ -n "$key" ]; then
  mkdir -p "$root/root/.ssh"
  touch "$root/root/.ssh/authorized_keys"
  chmod 700 "$root/root/.ssh"
  chmod 600 "$root/root/.ssh/authorized_keys"
  grep -qxF "$key" "$root/root/.ssh/authorized_keys" || printf '%s\n' "$key" >> "$root/root/.ssh/authorized_keys"
  if [ -z "$root" ] && command -v sshd >/dev/null 2>&1 && ! pgrep -x sshd >/dev/null 2>&1; then
    ssh-keygen -A >/dev/null
    mkdir -p /run/sshd
    "$(command -v sshd)"
  fi
fi

echo "fluxgym-tui is ready in $FLUXGYM_HOME: log in, and type  app"
[ "${1:-}" = --no-wait ] || BIN=$bin exec "$source/docker/entrypoint.sh"
