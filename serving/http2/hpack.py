"""Lists of headers as HTTP/2 carries them (RFC 7541): a decoder for whatever comes, an encoder that compresses nothing.

Headers are pairs of bytes, (name, value).
"""

from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from serving.http2 import huffman

TABLE_BYTES = 4096  # of the decoder's table, unless the settings say otherwise
_ENTRY_BYTES = 32  # that an entry counts beside its name and its value
_KNOWN_BLOCKS, _KNOWN_BYTES = 256, 512
_LONGEST_INTEGER = 1 << 28
Header = tuple[bytes, bytes]
Headers = list[Header]

_STATIC_TEXT = """:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|\
:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|\
accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|\
content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|\
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|\
last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|\
server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"""


def _static() -> tuple[Header, ...]:
    """The static table; 0 is no entry."""
    pairs = (entry.encode().partition(b" ") for entry in _STATIC_TEXT.split("|"))
    return (b"", b""), *((name, value) for name, _, value in pairs)


_STATIC = _static()


class Decoder:
    """Reads the blocks of one connection, in the order in which they come."""

    def __init__(self, table_bytes: int = TABLE_BYTES, list_bytes: int = 64 << 10) -> None:
        """
        Args:
            table_bytes: that the other side was allowed.
            list_bytes: of a list of headers, counted as for the table.
        """
        self._allowed = self._most = table_bytes
        self._list_bytes = list_bytes
        self._table: deque[Header] = deque()  # the newest first
        self._size = 0
        self._known: dict[bytes, Headers] = {}  # blocks that mean the same whatever the table holds

    def decode(self, block: bytes) -> Headers:
        """The headers of a block, not to be changed.

        Raises:
            ValueError: it is no such block, or the list is too long.
        """
        found = self._known.get(block)
        if found is not None:
            return found
        try:
            headers, independent = self._decode(block)
        except IndexError:
            raise ValueError("a block of headers is cut short, or names an entry that does not exist") from None
        if independent and len(block) <= _KNOWN_BYTES and len(self._known) < _KNOWN_BLOCKS:
            self._known[block] = headers
        return headers

    def _decode(self, block: bytes) -> tuple[Headers, bool]:
        """The headers, and whether the table neither helped nor changed."""
        at, end, left, independent = 0, len(block), self._list_bytes, True
        headers: Headers = []
        while at < end:
            byte = block[at]
            if byte >= 0x80:
                index, at = _integer(block, at, 0x7F)
                header = self._entry(index)
                independent = independent and index < len(_STATIC)
            elif byte < 0x40 and byte >= 0x20:
                most, at = _integer(block, at, 0x1F)
                self._resize(most)
                independent = False
                continue
            else:
                index, at = _integer(block, at, 0x3F if byte >= 0x40 else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                header = name, value
                independent = independent and byte < 0x40 and index < len(_STATIC)
                if byte >= 0x40:
                    self._insert(header)
            headers.append(header)
            left -= len(header[0]) + len(header[1]) + _ENTRY_BYTES
            if left < 0:
                raise ValueError(f"a list of headers has more than {self._list_bytes} bytes")
        return headers, independent

    def _entry(self, index: int) -> Header:
        if index < len(_STATIC):
            if not index:
                raise IndexError
            return _STATIC[index]
        return self._table[index - len(_STATIC)]

    def _insert(self, header: Header) -> None:
        self._table.appendleft(header)
        self._size += len(header[0]) + len(header[1]) + _ENTRY_BYTES
        self._evict()

    def _resize(self, most: int) -> None:
        if most > self._allowed:
            raise ValueError(f"a table of {most} bytes of headers; {self._allowed} are allowed")
        self._most = most
        self._evict()

    def _evict(self) -> None:
        while self._size > self._most:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _ENTRY_BYTES


def encode(headers: Iterable[Header]) -> bytes:
    """A block that spells every header out, and that no table is needed for."""
    return b"".join([_literal_name(name) + _literal(value) for name, value in headers])


def _literal(text: bytes) -> bytes:
    size = len(text)
    return bytes((size,)) + text if size < 0x7F else b"\x7f" + _tail(size - 0x7F) + text


@lru_cache(256)
def _literal_name(name: bytes) -> bytes:
    return b"\x00" + _literal(name)


def _tail(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """(an integer that begins in the bits of this byte, where it ends)"""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if value > _LONGEST_INTEGER or shift > 35:
            raise ValueError("an integer in a block of headers is too large")
        if byte < 0x80:
            return value, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """(a string, where it ends)"""
    compressed = block[at] >= 0x80
    size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise IndexError
    text = block[at:end]
    return (huffman.decode(text) if compressed else text), end
