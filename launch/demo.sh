#!/usr/bin/env bash
# Trains, samples, measures and reports on real images, in one command; flags go to `python -m score_jax demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/env.sh
source launch/env.sh demo

python -m score_jax demo "$@"
