"""From the command line to the server's parts: every flag and file read and checked, nothing started yet."""

import gc
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serving.model_server import config_files, cpus, flags, model_configs
from serving.model_server.batching import BatchScheduler
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.config_files import Monitoring, Platform
from serving.model_server.flags import Flags
from serving.model_server.grpc_server import UNIX, Listening
from serving.model_server.loader import Loader, MakeRun
from serving.model_server.metrics import Metrics
from serving.model_server.models import Models, Settings
from serving.model_server.runner import Runner
from serving.model_server.servable import Feeds, Fetches, Run, Session
from serving.model_server.session import SessionOptions
from serving.model_server.signature import Array, Signature
from serving.status import Code, StatusError

PER_MODEL_FILE = "batching_params.pbtxt"  # in a version's directory


@dataclass(frozen=True)
class Parts:
    """What a server is made of.

    Attributes:
        config: the first ModelServerConfig.
        models: not started.
        listening: of gRPC.
        monitoring: whether and where REST publishes the metrics.
        runner: the threads that run models.
        scheduler: makes batches; None without batching.
    """

    flags: Flags
    config: Any
    models: Models
    metrics: Metrics
    listening: Listening
    monitoring: Monitoring
    runner: Runner
    scheduler: BatchScheduler | None

    def close(self) -> None:
        """Ends the threads that run models, when no request is left."""
        if self.scheduler is not None:
            self.scheduler.close()
        self.runner.close()


def prepare(given: Flags) -> Parts:
    """The parts of a server with these flags. Imports TensorFlow, once the flags themselves are right.

    Raises:
        StatusError: with these flags or files TF Serving would not start either.
    """
    flags.check(given)
    monitoring = config_files.read_monitoring(given.monitoring_config_file)
    ssl = config_files.read_ssl(given.ssl_config_file)
    platform = _platform(given)
    config = read_config(given)
    if config.WhichOneof("config") is not None:
        model_configs.check(model_configs.read(config), ())  # before what takes seconds
    _import_tensorflow()
    metrics = Metrics()
    runner = Runner(_model_threads(given), "model")
    scheduler = None if platform.batching is None else BatchScheduler(platform.batching, metrics, runner)
    make_run = partial(_unbatched, runner)
    if scheduler is not None:
        make_run = partial(_batched, scheduler, given.enable_per_model_batching_parameters)
    loader = _loader(given, platform, make_run, metrics)
    addresses = [f"{_bracketed(given.pressline_host)}:{given.port}"] if given.port else []
    addresses += [f"{UNIX}{given.grpc_socket_path}"] if given.grpc_socket_path else []
    listening = Listening(addresses, given.grpc_channel_arguments, ssl, given.enable_grpc_healthcheck_service)
    models = Models(loader.load, _settings(given))
    return Parts(given, config, models, metrics, listening, monitoring, runner, scheduler)


def read_config(given: Flags) -> Any:
    """The ModelServerConfig as the flags and the file say it now. Raises StatusError where the file is wrong."""
    if given.model_config_file:
        return config_files.read_model_config(given.model_config_file)
    return config_files.single_model_config(given.model_name, given.model_base_path)


def _model_threads(given: Flags) -> int:
    """The greater of the two flags where one of them is set, else two a core.

    TF Serving's default of four a core has threads to spare for reading and writing requests, which here is the event
    loop's work. Measured with the clicks model on two cores: two a core answer as many as four, one a core half as
    many, and with four the p99 grows.
    """
    default = Flags()
    asked = (given.rest_api_num_threads, given.grpc_max_threads)
    if asked == (default.rest_api_num_threads, default.grpc_max_threads):
        return 2 * cpus.schedulable()
    return max(*asked, 1)


def _platform(given: Flags) -> Platform:
    """How TensorFlow's models are run: by the platform config file, or by the flags that it would replace."""
    if given.platform_config_file:
        return config_files.read_platform(given.platform_config_file)
    return Platform(
        session_config=config_files.read_session_config(
            given.tensorflow_session_config_file, given.per_process_gpu_memory_fraction
        ),
        batching=config_files.read_batching(given.batching_parameters_file) if given.enable_batching else None,
        tags=frozenset(given.saved_model_tags.split(",")),
        warmup=given.enable_model_warmup,
        warmup_iterations=given.num_request_iterations_for_warmup,
    )


def _import_tensorflow() -> None:
    """Imports it before the first load, and tells the collector to leave alone what came with it.

    Those are 400,000 objects: looking through them takes 0.2 s, in which no request would be answered, and each unload
    has to call the collector (see serving.model_server.session).
    """
    importlib.import_module("tensorflow")

    gc.collect()
    gc.freeze()


def _loader(given: Flags, platform: Platform, make_run: MakeRun, metrics: Metrics) -> Loader:
    intra, inter = flags.parallelism(given)
    return Loader(
        make_run=make_run,
        options=SessionOptions(platform.tags, intra, inter, platform.session_config),
        metrics=metrics,
        warm_up=platform.warmup,
        warm_up_iterations=platform.warmup_iterations,
        check_method=given.enable_signature_method_name_check,
    )


def _settings(given: Flags) -> Settings:
    return Settings(
        allow_version_labels_for_unavailable_models=given.allow_version_labels_for_unavailable_models,
        file_system_poll_wait_seconds=given.file_system_poll_wait_seconds,
        max_num_load_retries=given.max_num_load_retries,
        load_retry_interval_micros=given.load_retry_interval_micros,
        num_load_threads=given.num_load_threads,
        num_unload_threads=given.num_unload_threads,
    )


def _unbatched(runner: Runner, session: Session, signatures: Mapping[str, Signature], directory: str, name: str) -> Run:
    async def run(feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
        return await runner.run(lambda: session.run(feeds, fetches), timeout_s)

    return run


def _batched(
    scheduler: BatchScheduler,
    per_model: bool,
    session: Session,
    signatures: Mapping[str, Signature],
    directory: str,
    name: str,
) -> Run:
    parameters: BatchingParameters | None = None
    path = Path(directory) / PER_MODEL_FILE
    if per_model and path.is_file():
        parameters = config_files.read_batching(str(path))
    return scheduler.run_for(session, signatures, parameters)


def _bracketed(host: str) -> str:
    if not host:
        raise StatusError(Code.INVALID_ARGUMENT, "--pressline_host is empty; 0.0.0.0 listens on every IPv4 address")
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
