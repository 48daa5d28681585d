#!/usr/bin/env bash
# Make or refresh a virtual environment: install.sh PYTHON VENV EXTRAS. The pinned versions are in constraints.txt.
# TORCH_INDEX names the package index that PyTorch comes from (`pypi`: the usual one, with CUDA); by default it is
# chosen by whether this machine has an NVIDIA card.
set -euo pipefail
python=$1 venv=$2 extras=$3
cd "$(dirname "$0")/.."

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "fluxgym-tui needs Python 3.11 or newer; \`$python\` is $("$python" --version 2>&1 || echo missing)." >&2
  echo "Name another one: make PYTHON=python3.12 ..." >&2
  exit 2
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

pip=("$venv/bin/python" -m pip install --disable-pip-version-check --quiet --constraint constraints.txt)
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
  echo "Installing PyTorch into $venv ..." >&2
  torch=$(sed -n 's/^\(torch==[0-9.]*\)$/\1/p' constraints.txt)
  if [ "${TORCH_INDEX:-pypi}" != pypi ]; then
    "${pip[@]}" --no-deps --index-url "$TORCH_INDEX" "$torch"  # what was named, or nothing: another build may not fit
  # Without an NVIDIA card the CPU build is all that is of use; where its index cannot be reached, any build will do.
  elif [ -n "${TORCH_INDEX:-}" ] || [ "$(uname -s)" != Linux ] || command -v nvidia-smi >/dev/null 2>&1 ||
    ! "${pip[@]}" --no-deps --retries 1 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null
  then
    "${pip[@]}" "$torch"
  fi
fi
echo "Installing fluxgym-tui[$extras] into $venv ..." >&2
"${pip[@]}" --editable ".[$extras]"
