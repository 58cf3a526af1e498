"""Compressed request bodies, inflated piece by piece so that a small body cannot take up all memory."""

import zlib

_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 1 << 20


def inflate(body: bytes, most_bytes: int) -> bytes:
    """The content of a gzip stream; empty where it is damaged, cut off or longer than `most_bytes`.

    An empty body is what TF Serving goes on with too, so the client reads that its document is empty.
    """
    stream = zlib.decompressobj(_GZIP)
    pieces, size = [], 0
    rest = body
    try:
        while not stream.eof and rest:
            pieces.append(stream.decompress(rest, _PIECE))
            size += len(pieces[-1])
            if size > most_bytes:
                return b""
            rest = stream.unconsumed_tail
        return b"".join(pieces) if stream.eof else b""
    except zlib.error:
        return b""
