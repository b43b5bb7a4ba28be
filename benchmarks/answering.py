"""The loop of a process that `peer.py` asks; of the standard library alone, since it runs in another Python."""

import json
import sys


def answer(peer: object) -> None:
    """Answers until the input ends: each line names a method of the peer, and its arguments."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        found = getattr(peer, request.pop("do"))(**request)
        print(json.dumps(found), file=answers, flush=True)
