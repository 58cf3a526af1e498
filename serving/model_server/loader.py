"""Makes a version's directory a servable: reads the SavedModel, warms it up, counts and times both.

What TensorFlow's Python loader raises for a directory that is no model becomes the status of the C++ loader.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from serving.model_server import signature, warmup
from serving.model_server.servable import Run, Servable, Session
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import Signature
from serving.status import Code, StatusError, from_exception

MLMD_FILE = "assets.extra/mlmd_uuid"
LARGEST_MODEL_BYTES = 2**31 - 1  # of saved_model.pb: protobuf's limit; variables have files of their own

T = TypeVar("T")

# (session, signatures, directory, model name) -> how requests are run
MakeRun = Callable[[Session, Mapping[str, Signature], str, str], Run]


class Counter(Protocol):
    def add(self, *labels: str, by: int = 1) -> None: ...


class Histogram(Protocol):
    def observe(self, *labels: str, value: float) -> None: ...


class Gauge(Protocol):
    def set(self, *labels: str, value: str) -> None: ...


class LoadMetrics(Protocol):
    """What the loader tells of serving.model_server.metrics.Metrics; latencies in microseconds."""

    @property
    def load_attempt_count(self) -> Counter: ...  # model_path, status (success, fail)

    @property
    def load_latency(self) -> Counter: ...  # model_path

    @property
    def model_warmup_latency(self) -> Histogram: ...  # model_path, status

    @property
    def model_warmup_records_read(self) -> Counter: ...  # model_path, status

    @property
    def mlmd_map(self) -> Gauge: ...  # model_name, version


@dataclass(frozen=True)
class Loader:
    """How versions are loaded. `load` may be called from several threads at once.

    Attributes:
        make_run: makes what a servable answers requests with: runner threads, or a batcher.
        options: of the session.
        metrics: where loads are counted; None for nowhere.
        warm_up: `--enable_model_warmup`.
        warm_up_iterations: `--num_request_iterations_for_warmup`; 0 means once.
        check_method: `--enable_signature_method_name_check`.
    """

    make_run: MakeRun
    options: SessionOptions = field(default_factory=SessionOptions)
    metrics: LoadMetrics | None = None
    warm_up: bool = True
    warm_up_iterations: int = 0
    check_method: bool = False

    def load(self, name: str, version: int, directory: str) -> Servable:
        """The servable of the SavedModel in `directory`, warmed up.

        Raises:
            StatusError: it cannot be loaded, or a warm-up request failed. Nothing of the model is kept then, not even
                by the error: what it was raised from holds the graph, so it is not chained.
        """
        session = self._opened(directory)
        try:
            return _unchained(lambda: self._served(session, name, version, directory), from_exception)
        except StatusError:
            session.close()
            raise

    def _opened(self, directory: str) -> SavedModelSession:
        began = time.perf_counter_ns()
        try:
            session = _unchained(lambda: SavedModelSession(_checked(directory), self.options), _of_loading)
        except StatusError:
            if self.metrics is not None:
                self.metrics.load_attempt_count.add(directory, "fail")
            raise
        if self.metrics is not None:
            self.metrics.load_attempt_count.add(directory, "success")
            self.metrics.load_latency.add(directory, by=(time.perf_counter_ns() - began) // 1000)
        return session

    def _served(self, session: SavedModelSession, name: str, version: int, directory: str) -> Servable:
        signatures = signature.read(session.signature_definitions)
        path = warmup.path_in(directory) if self.warm_up else None
        if path is not None:
            self._warm_up(path, session, signatures, directory)
        self._publish_mlmd(name, version, directory)
        return Servable(name, version, signatures, session, self.make_run(session, signatures, directory, name))

    def _warm_up(self, path: str, session: Session, signatures: Mapping[str, Signature], directory: str) -> None:
        began, read, status = time.perf_counter_ns(), 0, "OK"
        try:
            for number in warmup.replay(path, session, signatures, self.warm_up_iterations, self.check_method):
                read = number
        except Exception as error:
            status = str(from_exception(error))
            raise
        finally:
            if self.metrics is not None:
                took_us = (time.perf_counter_ns() - began) / 1000
                self.metrics.model_warmup_latency.observe(directory, status, value=took_us)
                self.metrics.model_warmup_records_read.add(directory, status, by=read)

    def _publish_mlmd(self, name: str, version: int, directory: str) -> None:
        import tensorflow as tf

        path = f"{directory.rstrip('/')}/{MLMD_FILE}"
        if self.metrics is not None and tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file:
                self.metrics.mlmd_map.set(name, str(version), value=file.read())


def _unchained(work: Callable[[], T], status_of: Callable[[Exception], StatusError]) -> T:
    """What `work` returns.

    Raises:
        StatusError: what it raised, made anew: a traceback or a cause would keep the graph that it saw in memory for
            as long as somebody lists the version's error.
    """
    try:
        return work()
    except Exception as error:
        status = status_of(error)
        code, message = status.code, status.message
        del status
    raise StatusError(code, message)


def _checked(directory: str) -> str:
    """The directory.

    Raises:
        StatusError: NOT_FOUND: it holds no SavedModel. DATA_LOSS: one that no protobuf parser would take; reading it
            to find that out would cost its size in memory.
    """
    import tensorflow as tf

    for name, form in (("saved_model.pb", "binary"), ("saved_model.pbtxt", "text")):
        path = f"{directory}/{name}"
        if tf.io.gfile.exists(path):
            if tf.io.gfile.stat(path).length > LARGEST_MODEL_BYTES:
                raise StatusError(Code.DATA_LOSS, f"Can't parse {path} as {form} proto")
            return directory
    raise StatusError(
        Code.NOT_FOUND,
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {directory}. Check that the "
        "directory exists and that you have the right permissions for accessing it.",
    )


def _of_loading(error: Exception) -> StatusError:
    """The C++ loader's code, and where Python's differs its text, for what Python's loader raised."""
    text = str(error)
    if isinstance(error, RuntimeError) and (found := re.match(r"MetaGraphDef associated with tags '(.*)' could", text)):
        tags = found[1].replace("', '", " ")
        return StatusError(
            Code.NOT_FOUND,
            f"Could not find meta graph def matching supplied tags: {{ {tags} }}. To inspect available tag-sets in the "
            "SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        )
    if isinstance(error, OSError) and (found := re.match(r"Cannot parse file b'(.*?)':", text)):
        form = "text" if found[1].endswith("txt") else "binary"
        return StatusError(Code.DATA_LOSS, f"Can't parse {found[1]} as {form} proto")
    if isinstance(error, ValueError):  # what Python makes of INVALID_ARGUMENT when it imports a graph
        return StatusError(Code.NOT_FOUND if "is not a valid checkpoint" in text else Code.INVALID_ARGUMENT, text)
    return from_exception(error)
