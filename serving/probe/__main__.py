"""`python -m serving.probe MODEL_DIR REQUEST.json`: prints one JSON; exits with 1 and says why where it cannot ask."""

import json
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Runs the probe; returns the exit code."""
    if len(arguments) != 2:
        print("usage: python -m serving.probe MODEL_DIR REQUEST.json", file=sys.stderr)
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's chatter would hide the last words
    from serving.probe.measure import measure
    from serving.probe.request import decode
    from serving.probe.signature import UnfitError

    directory, request = arguments
    try:
        answers = measure(directory, decode(Path(request).read_text()))
    except UnfitError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
