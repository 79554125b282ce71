"""What happens to every byte of a payload: masking (RFC 6455 section 5.3) and UTF-8 (section 8.1).

Bytes and offsets go in, bytes and offsets come out.  This is the pure twin of ``_payload.h``: ``_codec.py`` imports
these names, and ``_codec.pxd`` puts the C functions of the same names in their place when the codec is compiled.  Both
must agree to the byte, which tests/test_codec_parity.py checks.
"""

from __future__ import annotations

from codecs import utf_8_decode

_LONGEST_SHORT = 125
_LONGEST_MEDIUM = 0xFFFF
_MASKED = 0x80

# From here on four table look-ups in C, one for each byte of the key, beat one long integer; below, the integer wins.
_LONG = 1024
_from_bytes = int.from_bytes
_XOR_TABLES = [bytes(value ^ key for value in range(256)) for key in range(256)]


def unmasked(data: bytes, start: int, end: int) -> bytes:
    """Return ``data[start:end]`` unmasked with the key that stands in the four bytes before *start*."""
    length = end - start
    if length >= _LONG:
        return _xor_long(data[start:end], data[start - 4 : start])
    # What _xor does, without the call, which short messages would notice.
    keys = (data[start - 4 : start] * ((length + 3) >> 2))[:length]
    return (_from_bytes(data[start:end]) ^ _from_bytes(keys)).to_bytes(length)


def append_unmasked(into: bytearray, data: bytes, start: int, end: int, key: bytes, offset: int) -> None:
    """Append ``data[start:end]`` unmasked; *offset* bytes of that frame's payload came before these."""
    turn = offset & 3
    into += _xor(data[start:end], key[turn:] + key[:turn])


def append_plain(into: bytearray, data: bytes, start: int, end: int) -> None:
    """Append ``data[start:end]`` as it is."""
    into += data[start:end]


def utf8_prefix(data: bytes | bytearray, start: int, end: int) -> int:
    """Return up to where ``data[start:end]`` is whole UTF-8 characters, or -1 when it can never become UTF-8.

    What lies between the result and *end* is the beginning of a character: pass the result as the next *start*.
    """
    text = data[start:end]
    if text.isascii():
        return end
    try:
        done = utf_8_decode(text, "strict", False)[1]
    except UnicodeDecodeError:
        return -1
    # The decoder waits for the third byte of a surrogate (it may be told to let it pass): never a character here.
    if text[done : done + 1] == b"\xed" and text[done + 1 : done + 2] >= b"\xa0":
        return -1
    return start + done


def plain_frame(first_byte: int, payload: bytes) -> bytes:
    """Return a whole unmasked frame."""
    return _head(first_byte, 0, len(payload)) + payload


def masked_frame(first_byte: int, payload: bytes, key: bytes) -> bytes:
    """Return a whole frame masked with the four bytes of *key*."""
    return _head(first_byte, _MASKED, len(payload)) + key + _xor(payload, key)


def _head(first_byte: int, mask_bit: int, length: int) -> bytes:
    if length <= _LONGEST_SHORT:
        return bytes((first_byte, mask_bit | length))
    if length <= _LONGEST_MEDIUM:
        return bytes((first_byte, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first_byte, mask_bit | 127)) + length.to_bytes(8, "big")


def _xor(payload: bytes, key: bytes) -> bytes:
    # 5.3: "Octet i of the transformed data ("transformed-octet-i") is the XOR of octet i of the original data
    # ("original-octet-i") with octet at index i modulo 4 of the masking key ("masking-key-octet-j")"
    length = len(payload)
    if length >= _LONG:
        return _xor_long(payload, key)
    keys = (key * ((length + 3) >> 2))[:length]
    return (_from_bytes(payload) ^ _from_bytes(keys)).to_bytes(length)


def _xor_long(payload: bytes, key: bytes) -> bytes:
    out = bytearray(payload)
    for index in range(4):
        out[index::4] = out[index::4].translate(_XOR_TABLES[key[index]])
    return bytes(out)
