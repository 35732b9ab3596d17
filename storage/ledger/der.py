"""As much of DER (X.690) as it takes to put the certificates of a timestamp into the order that DER wants.

OpenSSL writes the certificates of a SignedData (RFC 5652 §5.1) in the order it was given them, where DER has a SET OF
sorted by its encodings; the library that reads timestamps refuses them so. They are not under the signature, so sorting
them changes nothing that was said. What is kept is always what the authority sent.
"""

from __future__ import annotations

from typing import NamedTuple

_CERTIFICATES = 0xA0
_LONG = 0x80


class _Element(NamedTuple):
    tag: int
    begin: int
    content: int
    end: int


def with_certificates_in_order(token: bytes) -> bytes:
    """Return a TimeStampResp (RFC 3161 §2.4.2) with its certificates sorted; unchanged where it is no such thing."""
    try:
        response = _element(token, 0)
        content_info = _children(token, response)[1]
        signed_data = _children(token, _children(token, content_info)[1])[0]
        certificates = next(one for one in _children(token, signed_data) if one.tag == _CERTIFICATES)
        found = sorted(token[one.begin : one.end] for one in _children(token, certificates))
    except (IndexError, StopIteration):
        return token
    return token[: certificates.content] + b"".join(found) + token[certificates.end :]


def _children(data: bytes, parent: _Element) -> list[_Element]:
    found = []
    at = parent.content
    while at < parent.end:
        found.append(_element(data, at))
        at = found[-1].end
    if at != parent.end:
        raise IndexError(at)
    return found


def _element(data: bytes, at: int) -> _Element:
    """Read tag and length; lengths of more than four bytes are nothing that we would keep.

    Raises:
        IndexError: The data ends before the element does, or it has no such length.
    """
    tag, length, content = data[at], data[at + 1], at + 2
    if length & _LONG:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise IndexError(at)
        length = int.from_bytes(data[content : content + size])
        content += size
    if content + length > len(data):
        raise IndexError(at)
    return _Element(tag, at, content, content + length)
