"""`python -m serving.model_server --port=8500 --rest_api_port=8501 --model_config_file=...`"""

import logging
import os
import sys

from serving.model_server import flags
from serving.status import StatusError


def main(arguments: list[str]) -> int:
    """Serves until a signal; returns TF Serving's exit codes: 0, or 255 where it could not start."""
    given = flags.parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    # TensorFlow's own chatter is about hardware that is not there; what it says of models comes by way of its errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Its own allocator keeps the memory of a model that was unloaded for the next one.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    for warning in flags.warnings(given):
        logging.getLogger(__name__).warning(warning)
    try:
        flags.check(given)  # before what takes seconds to import
        return _serve(given)
    except StatusError as error:
        line = getattr(error, "line", None)  # of a config file
        if line is not None:
            print(line, file=sys.stderr)
        print(f"Failed to start server. Error: {error}", flush=True)
        return flags.EXIT_USAGE


def _serve(given: flags.Flags) -> int:
    import uvloop

    from serving.model_server.parts import prepare
    from serving.model_server.server import serve

    uvloop.run(serve(prepare(given)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
