"""Configuration texts that several tests read."""

from collections.abc import Callable
from typing import Any

from serving.model_server import config_files

TWO_MODELS = """
# models of the shop
model_config_list: {
  config {
    name: "clicks",
    base_path: '/models/clicks'
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1, versions: 2 } };
    version_labels { key: "stable" value: 1 }
    version_labels: { key: 'canary', value: 2 }
  },
  config: < name: "taxi" base_path: "/models" "/taxi" model_platform: "tensorflow" >
}
"""


Written = Callable[[str | bytes], str]


READERS: list[Callable[[str], Any]] = [
    config_files.read_model_config,
    config_files.read_monitoring,
    config_files.read_ssl,
    config_files.read_batching,
]
