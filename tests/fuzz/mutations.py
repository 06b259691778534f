"""Broken inputs out of whole ones: bytes flipped, cut, repeated, moved, and values that hurt put in."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["HURTFUL", "broken_bytes", "broken_text"]

HURTFUL = [
    *[
        "",
        "null",
        "~",
        "{}",
        "[]",
        "-1",
        "0",
        "1e309",
        "nan",
        ".inf",
        "9" * 40,
        "true",
        "'",
        '"',
        "\\x00",
        "\t",
        "\r\n",
    ],
    *[": ", "- ", "&a [*a]", "*a", "!!python/object/apply:os.system [echo]", "<<: *a", "../../etc/passwd", "/dev/zero"],
    *["//", "%s", "{}" * 50, "[" * 2000, "é", "\u202e", "a" * 5000, "? ", "--- ", "...", "0x10", "1_000", "2001-01-01"],
    *["| ", "@"],
]

_edits = st.lists(
    st.tuples(st.sampled_from("fcrimx"), st.floats(0, 1), st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6
)


@st.composite
def broken_bytes(draw, whole: bytes) -> bytes:
    """Return ``whole`` after one to six edits: flip, cut, repeat, insert, move, or an extreme 32-bit number."""
    data = bytearray(whole)
    for kind, where, extent, value in draw(_edits):
        at = int(where * len(data))
        length = 1 + int(extent**4 * len(data))
        if kind == "f" and data:
            data[min(at, len(data) - 1)] ^= value or 1
        elif kind == "c":
            del data[at : at + length]
        elif kind == "r":
            data[at:at] = data[at : at + min(length, 4096)]
        elif kind == "i":
            data[at:at] = bytes([value]) * (1 + value % 9)
        elif kind == "m":
            piece = data[at : at + length]
            del data[at : at + length]
            data[int(extent * len(data)) : 0] = piece
        else:
            data[at : at + 4] = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"][value % 3]
    return bytes(data)


@st.composite
def broken_text(draw, whole: str) -> str:
    """Return a text after edits of bytes, or with a hurtful value in the place of a word or a line."""
    if draw(st.booleans()):
        return draw(broken_bytes(whole.encode())).decode("utf-8", "replace")
    lines = whole.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        words = lines[number].split(" ")
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(HURTFUL))
        lines[number] = " ".join(words)
        if draw(st.integers(0, 5)) == 0:
            lines.insert(number, draw(st.sampled_from(lines)))
    return "\n".join(lines)
