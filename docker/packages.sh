#!/usr/bin/env bash
# The system's packages for the image: Python, tmux for the app, git for sd-scripts, sshd for rentals, tini as process 1.
set -euo pipefail
apt-get update
apt-get install --yes --no-install-recommends \
  ca-certificates git libgl1 libglib2.0-0 openssh-server python3 python3-venv tini tmux
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*
