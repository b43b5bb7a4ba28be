#!/usr/bin/env bash
# Runs what README.md prints, as it prints it: in a fresh clone with a fresh environment.
#   launch/readme_check.sh           installs, runs the whole demo, and what follows it (half an hour on two CPU cores)
#   launch/readme_check.sh --short   in the environment at hand ($VENV), after a demo of a few steps (CI runs this form)
# Uncommitted changes are not looked at.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/readme_check.XXXXXX")
trap 'rm -rf "$FOLDER"' EXIT
git clone --quiet "$ROOT" "$FOLDER/score_jax"
cd "$FOLDER/score_jax"

section() {
  python3 launch/readme_check.py "$@"
}

if [[ ${1:-} == --short ]]; then
  VENV=$(cd "${VENV:-$ROOT/.venv}" && pwd)
  ln -s "$VENV" .venv
  export PYTHONPATH=$PWD
  "$VENV/bin/python" -m score_jax demo --workdir=runs/demo \
    --config.training.steps=4 --config.training.sample_every=0 --config.sampler.num_steps=4 \
    --config.evaluation.num_samples=32 --config.likelihood.num_examples=4 --config.likelihood.rtol=0.1 \
    --config.likelihood.atol=0.1 --config.network.channels=8 '--config.network.channel_mult=(1,1)'
else
  SECONDS=0
  ./launch/demo.sh
  echo "readme_check: from the clone to the demo's report: $SECONDS s"
fi

section "On what the demo left" >"$FOLDER/commands.sh"
bash "$FOLDER/commands.sh"
# Pictures of a person: the demo's samples, in two folders.
.venv/bin/python - <<'PYTHON'
from pathlib import Path
import numpy as np
from PIL import Image

with np.load("runs/heun/samples.npz") as samples:
    images = samples["arr_0"]
for i, image in enumerate(images[:48]):
    file = Path("FOLDER", "even" if i % 2 == 0 else "odd", f"{i}.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0]).save(file)
PYTHON
section "Your own images" >"$FOLDER/own.sh"
if [[ ${1:-} == --short ]]; then
  few="--config.training.steps=4 --config.training.sample_every=0 --config.network.channels=8"
  few="$few '--config.network.channel_mult=(1,)'"
  sed -i "s|train    --data=FOLDER|& $few|; s|^score_jax evaluate.*|& --num_samples=16|" "$FOLDER/own.sh"
fi
# shellcheck source=/dev/null
(source .venv/bin/activate && bash "$FOLDER/own.sh")
# Not beside the clone: of an editable installation Python takes a folder score_jax beside a script for the package.
mkdir "$FOLDER/script"
section --python "In Python" >"$FOLDER/script/snippet.py"
.venv/bin/python "$FOLDER/script/snippet.py"
echo "readme_check: everything in README.md runs."
