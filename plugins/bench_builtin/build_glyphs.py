"""Build ``data/glyphs.npz``, the one-bit drawings behind the ``glyphs`` task distribution, from matplotlib's fonts.

Run ``python -m bench_builtin.build_glyphs``. The result is shipped, because rasterisers differ by a pixel between
versions of FreeType; rebuilding it changes the fingerprint of the data.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
SIDE = 64  # of a stored drawing, in pixels
FIT = 44  # longer side of the glyph within it
DRAWN_AT = 160  # font size before the fit, in pixels
FACES = (
    *(
        f"DejaVu{family}.ttf"
        for family in (
            "Sans",
            "Sans-Bold",
            "Sans-Oblique",
            "Sans-BoldOblique",
            "SansMono",
            "SansMono-Bold",
            "SansMono-Oblique",
            "SansMono-BoldOblique",
            "Serif",
            "Serif-Bold",
            "Serif-Italic",
            "Serif-BoldItalic",
        )
    ),
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "STIXGeneralBolIta.ttf",
)
"""Text faces that cover whole alphabets; size and symbol variants and the old TeX encodings are left out."""


def draw(face: object, character: str) -> np.ndarray:
    """(SIDE, SIDE) bool, ink true: the glyph fitted to FIT pixels, centred."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (4 * DRAWN_AT, 4 * DRAWN_AT), 0)
    ImageDraw.Draw(canvas).text((DRAWN_AT, DRAWN_AT), character, fill=255, font=face)  # type: ignore[arg-type]
    box = canvas.getbbox()
    drawing = np.zeros((SIDE, SIDE), dtype=bool)
    if box is None:
        return drawing
    glyph = canvas.crop(box)
    scale = FIT / max(glyph.size)
    width, height = (max(1, round(length * scale)) for length in glyph.size)
    ink = np.asarray(glyph.resize((width, height), Image.Resampling.BOX)) >= 128
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    drawing[top : top + height, left : left + width] = ink
    return drawing


def build(fonts: Path, split: dict[str, dict[str, str]]) -> dict[str, np.ndarray]:
    """Arrays of the cache: one row of ``bits`` per glyph-face, one of ``character`` per class, one of ``alphabets`` per alphabet."""
    from fontTools.ttLib import TTFont
    from PIL import ImageFont

    covered = [frozenset(TTFont(fonts / name).getBestCmap()) for name in FACES]
    faces = [ImageFont.truetype(fonts / name, DRAWN_AT, layout_engine=ImageFont.Layout.BASIC) for name in FACES]
    alphabets, splits, characters, alphabet_of, bits, class_of, face_of = [], [], [], [], [], [], []
    for part, groups in split.items():
        for alphabet, members in groups.items():
            alphabets.append(alphabet)
            splits.append(part.replace("_", "-"))
            for character in members:
                characters.append(ord(character))
                alphabet_of.append(len(alphabets) - 1)
                for index, face in enumerate(faces):
                    if ord(character) in covered[index] and (drawing := draw(face, character)).any():
                        bits.append(np.packbits(drawing))
                        class_of.append(len(characters) - 1)
                        face_of.append(index)
    return {
        "bits": np.stack(bits),
        "class_of": np.array(class_of, dtype=np.int16),
        "face_of": np.array(face_of, dtype=np.uint8),
        "faces": np.array([Path(name).stem for name in FACES]),
        "character": np.array(characters, dtype=np.uint32),
        "alphabet_of": np.array(alphabet_of, dtype=np.uint8),
        "alphabets": np.array(alphabets),
        "splits": np.array(splits),
    }


def main() -> None:
    """Write the cache beside the split."""
    import matplotlib

    arrays = build(Path(matplotlib.get_data_path()) / "fonts" / "ttf", json.loads((DATA / "glyph_split.json").read_text(encoding="utf-8")))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    (DATA / "glyphs.npz").write_bytes(packed.getvalue())
    print(f"{len(arrays['character'])} classes, {len(arrays['bits'])} glyph-faces, {len(packed.getvalue())} bytes")


if __name__ == "__main__":
    main()
