#!/usr/bin/env bash
# Installs the program: build.sh SOURCE BIN. The virtual environment goes to SOURCE/.venv, the commands `fluxgym-tui`,
# `app` and `as-user` to BIN. Variables: EXTRAS, TORCH_INDEX, KOHYA (1: sd-scripts too), KOHYA_TORCH, PYTHON.
set -euo pipefail
source=$1 bin=$2

"$source/scripts/install.sh" "${PYTHON:-python3}" "$source/.venv" "${EXTRAS:-train}"
"$source/.venv/bin/python" -m compileall -q "$source/fluxgym_tui"

mkdir -p "$bin"
for name in as-user app; do
  install -m 755 "$source/docker/$name" "$bin/$name"
done
# Written here, for it has to know where the program is.
cat > "$bin/fluxgym-tui" <<END
#!/bin/sh
exec "$bin/as-user" "$source/.venv/bin/fluxgym-tui" "\$@"
END
chmod 755 "$bin/fluxgym-tui"

if [ "${KOHYA:-0}" = 1 ]; then
  "$source/.venv/bin/fluxgym-tui" setup kohya --workspace "$source" --torch "${KOHYA_TORCH:-cu124}"
fi
"$source/.venv/bin/fluxgym-tui" --version
