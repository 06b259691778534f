"""Characters rendered from the fonts that matplotlib ships: many classes, no download."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["glyphs"]

FAMILIES = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral")  # those whose characters follow Unicode
STYLES = ("", "-Bold", "-BoldOblique", "-Oblique", "-BoldItalic", "-Italic", "Bol", "BolIta", "Italic")
KINDS = ("Lu", "Ll", "Lo", "Lt", "Nd", "Nl", "No", "Po", "Pd", "Sm", "Sc", "So")  # what leaves ink by itself
INK = 32  # a glyph has a pixel of at least this brightness
MOST = 16  # images of a class: the number of fonts, however many characters were merged


@register_dataset("glyphs")
def glyphs(classes: int = 500, samples: int = 8, size: int = 28) -> Dataset:
    """Characters in the fonts that matplotlib ships: white on black, each class a character, each sample a font.

    Characters that look the same in a font that has both (Latin A, Greek Alpha) are one class; a class keeps no image
    twice. Classes are ordered by code point, and the first ones are kept.

    Args:
        classes: how many are kept.
        samples: how many different images a class has at least.
        size: height and width in pixels.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: matplotlib or its fonts are missing, or there are fewer classes than asked.
    """
    for name, value, low, high in (
        ("classes", classes, 2, 100_000),
        ("samples", samples, 2, MOST),
        ("size", size, 12, 128),
    ):
        if type(value) is not int or not low <= value <= high:
            rule = f"`{name}` must be a whole number from {low} to {high}"
            raise InvalidValueError(rule, value=f"{name}={value!r}", place="glyphs")
    rendered = _rendered(_fonts(), samples, size)
    members = _merged(rendered)
    kept = {}
    for first in sorted(members):
        images = {image: None for character in members[first] for image in rendered[character].values()}
        if len(images) >= samples:
            kept["".join(map(chr, members[first]))] = list(images)[:MOST]
        if len(kept) == classes:
            break
    if len(kept) < classes:
        cure = "lower classes, lower samples, or raise size"
        got = f"{len(kept)} with {samples} samples at {size} pixels"
        raise DataError(f"there must be {classes} classes", value=got, cure=cure, place="glyphs")
    pixels = np.frombuffer(b"".join(b"".join(images) for images in kept.values()), np.uint8)
    labels = np.repeat(np.arange(classes, dtype=np.int64), [len(images) for images in kept.values()])
    credit = "DejaVu fonts (Bitstream, DejaVu contributors); STIX fonts (STI Pub)"
    return Dataset("glyphs", pixels.reshape(-1, 1, size, size).copy(), labels, tuple(kept), credit=credit)


def _fonts() -> dict[Path, list[int]]:
    """Return each font file and the characters it has."""
    try:
        import matplotlib
        from matplotlib.ft2font import FT2Font
    except ImportError:
        cure = "pip install matplotlib, the package that carries the fonts"
        raise DataError("matplotlib must be installed", cure=cure, place="glyphs") from None
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [folder / f"{family}{style}.ttf" for family in FAMILIES for style in STYLES]
    fonts = {file: sorted(FT2Font(str(file)).get_charmap()) for file in files if file.is_file()}
    if not fonts:
        cure = "reinstall matplotlib"
        raise DataError("matplotlib must carry its fonts", value=f"none in {folder}", cure=cure, place="glyphs")
    return fonts


def _rendered(fonts: dict[Path, list[int]], samples: int, size: int) -> dict[int, dict[Path, bytes]]:
    """Return the image of each character in each font that has it; characters in too few fonts are left out."""
    carriers = defaultdict(list)
    for file, characters in fonts.items():
        for character in characters:
            carriers[character].append(file)
    wanted = {c for c, files in carriers.items() if len(files) >= samples and unicodedata.category(chr(c)) in KINDS}
    rendered: defaultdict[int, dict[Path, bytes]] = defaultdict(dict)
    for file, characters in fonts.items():
        font = ImageFont.truetype(str(file), round(size * 0.7), layout_engine=ImageFont.Layout.BASIC)
        for character in characters:
            if character in wanted:
                image = Image.new("L", (size, size))
                place = (size / 2, round(size * 0.75))  # centred on one baseline: a comma is no apostrophe
                ImageDraw.Draw(image).text(place, chr(character), fill=255, font=font, anchor="ms")
                brightest = image.getextrema()[1]
                if isinstance(brightest, int | float) and brightest >= INK:  # one number: the image is grey
                    rendered[character][file] = image.tobytes()
    return rendered


def _merged(rendered: dict[int, dict[Path, bytes]]) -> dict[int, list[int]]:
    """Return the groups of characters that share an image in some font, by their lowest code point."""
    above = {character: character for character in rendered}

    def lowest(character: int) -> int:
        while above[character] != character:
            above[character] = above[above[character]]
            character = above[character]
        return character

    seen: dict[bytes, int] = {}
    for character in sorted(rendered):
        for image in rendered[character].values():
            one, other = sorted((lowest(character), lowest(seen.setdefault(image, character))))
            above[other] = one
    groups = defaultdict(list)
    for character in sorted(rendered):
        groups[lowest(character)].append(character)
    return groups
