"""`python -m score_jax VERB`."""

import sys

from score_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
