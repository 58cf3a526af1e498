"""What GetModelMetadata answers: a version's SignatureDefs as they are in the SavedModel, defaults included."""

from collections.abc import Mapping
from typing import Any

from serving.model_server.signature import Signature


def signature_def_map(signatures: Mapping[str, Signature]) -> Any:
    """A tensorflow_serving SignatureDefMap; signatures without a definition are left out."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    answer = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in signatures.items():
        if signature.definition is not None:
            answer.signature_def[name].CopyFrom(signature.definition)
    return answer
