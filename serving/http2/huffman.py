"""HPACK's Huffman code (RFC 7541, appendix B), decoded a byte at a time."""

LONGEST = 7  # bits of padding

# Bits of the code of each byte, and of a string's end (256). The code is canonical: codes of one length follow each
# other in the order of their symbols, so that the lengths say all.
_BITS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_END = 256


def _codes() -> dict[tuple[int, int], int]:
    """(bits, code) -> symbol"""
    codes, code, bits_before = {}, 0, 0
    for bits, symbol in sorted((bits, symbol) for symbol, bits in enumerate(_BITS)):
        code <<= bits - bits_before
        bits_before = bits
        codes[bits, code] = symbol
        code += 1
    return codes


_CODES = _codes()
_State = tuple[int, int]  # bits that have been read of a symbol: how many, which
_START: _State = (0, 0)
_steps: dict[tuple[_State, int], tuple[bytes, _State]] = {}  # worked out when they are needed; 57,000 at most


def decode(content: bytes) -> bytes:
    """What the bytes stand for.

    Raises:
        ValueError: they are no such string.
    """
    state, found = _START, []
    for byte in content:
        step = _steps.get((state, byte))
        if step is None:
            step = _steps[state, byte] = _step(state, byte)
        text, state = step
        found.append(text)
    bits, code = state
    if bits > LONGEST or code != (1 << bits) - 1:
        raise ValueError("a Huffman string does not end with at most 7 bits of padding")
    return b"".join(found)


def _step(state: _State, byte: int) -> tuple[bytes, _State]:
    bits, code = state
    found = bytearray()
    for shift in range(7, -1, -1):
        bits, code = bits + 1, code << 1 | byte >> shift & 1
        symbol = _CODES.get((bits, code))
        if symbol == _END:
            raise ValueError("a Huffman string holds its end as a symbol")
        if symbol is not None:
            found.append(symbol)
            bits, code = _START
    return bytes(found), (bits, code)
