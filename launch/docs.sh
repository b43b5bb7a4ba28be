#!/usr/bin/env bash
# The documentation as a site, at http://127.0.0.1:8000; flags go to `mkdocs serve`.  launch/docs.sh build  writes it to
# build/site, and fails where a link is broken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/env.sh
source launch/env.sh docs

export NO_MKDOCS_2_WARNING=1
if [[ ${1:-} == build ]]; then
  python -m mkdocs build "${@:2}"
else
  python -m mkdocs serve "$@"
fi
