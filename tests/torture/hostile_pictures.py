"""PNG, BMP, JPEG and TIFF files that say what is not so, or more than anyone can hold."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bombs
import numpy as np
import tifffile
from PIL import Image

Write = Callable[[Path], None]
_PIXELS = (np.arange(16 * 20) % 4).reshape(16, 20).astype(np.uint8)
_SMALL_BOMB = 10**9  # a text or a profile, which nobody needs


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(
    path: Path, size: tuple[int, int] = (20, 16), form: bytes = b"\x08\0\0\0\0", **chunks: bytes
) -> None:
    """`chunks` by name; IDAT is that of sound pixels where it is not given."""
    rows = b"".join(b"\0" + row.tobytes() for row in _PIXELS)
    chunks = {"IDAT": zlib.compress(rows)} | chunks
    data = chunks.pop("IDAT")
    parts = [_chunk(b"IHDR", struct.pack(">II", *size) + form)]
    parts += [_chunk(name.encode(), content) for name, content in chunks.items()]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join([*parts, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]))


def _png_files() -> list[Write]:
    text, profile = b"Comment\0\0", b"icc\0\0"
    return [
        partial(_png, size=(2**31 - 1, 2**31 - 1)),
        partial(_png, size=(0, 16)),
        partial(_png, size=(60_000, 60_000)),
        partial(_png, size=(14_000, 14_000), IDAT=bombs.zlib_stream(14_001 * 14_000)),
        partial(_png, size=(1500, 1500), IDAT=zlib.compress(bytes(1501 * 1500))),
        partial(_png, size=(10_000, 10_000)),
        partial(_png, IDAT=bombs.zlib_stream()),
        partial(_png, IDAT=b""),
        partial(_png, form=b"\x10\2\0\0\0"),
        partial(_png, form=b"\x07\0\0\0\0"),
        partial(_png, form=b"\x08\x09\0\0\0"),
        partial(_png, form=b"\x08\3\0\0\0"),
        partial(_png, form=b"\x08\0\0\0\x01"),
        partial(_png, zTXt=text + bombs.zlib_stream(_SMALL_BOMB)),
        partial(_png, iTXt=b"Comment\0\1\0\0\0" + bombs.zlib_stream(_SMALL_BOMB)),
        partial(_png, iCCP=profile + bombs.zlib_stream(_SMALL_BOMB)),
        partial(_png, PLTE=b"\0" * 3 * 300),
        partial(_png, tRNS=b"\0" * 5),
        partial(_png, acTL=struct.pack(">II", 2**31 - 1, 0)),
        partial(_png, eXIf=b"MM\0*\xff\xff\xff\xff"),
        *_OTHER_FORMATS,
    ]


def _postscript(path: Path) -> None:
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 16\n(touched) (w) file closefile\nshowpage\n"
    )


def _as_format(name: str, path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(_PIXELS).save(content, name)
    path.write_bytes(content.getvalue())


_OTHER_FORMATS: list[Write] = [
    _postscript,
    partial(_as_format, "GIF"),
    partial(_as_format, "PDF"),
    partial(_as_format, "WEBP"),
    partial(_as_format, "ICO"),
    partial(_as_format, "TIFF"),
]


def _bmp(
    path: Path,
    width: int = 20,
    height: int = 16,
    bits: int = 8,
    compression: int = 0,
    colours: int = 4,
    offset: int = 1078,
    header: int = 40,
) -> None:
    information = struct.pack(
        "<IiiHHIIiiII", header, width, height, 1, bits, compression, 0, 1, 1, colours, 0
    )
    palette = bytes(range(256)) * 4
    path.write_bytes(
        b"BM" + struct.pack("<IHHI", 2000, 0, 0, offset) + information + palette + _PIXELS.tobytes()
    )


def _bmp_files() -> list[Write]:
    changes: list[dict[str, int]] = [
        {"width": 2**31 - 1, "height": 2**31 - 1},
        {"width": 12_000, "height": 12_000},
        {"width": 12_000, "height": 12_000, "compression": 1},
        {"width": 0},
        {"width": -20},
        {"height": -16},
        {"bits": 0},
        {"bits": 1},
        {"bits": 16},
        {"bits": 32},
        {"bits": 77},
        {"compression": 1},
        {"compression": 2},
        {"compression": 3},
        {"compression": 4},
        {"colours": 2**31},
        {"colours": 257},
        {"offset": 2**31},
        {"offset": 0},
        {"header": 2**31},
        {"header": 12},
        {"header": 0},
    ]
    return [*(partial(_bmp, **change) for change in changes), *_OTHER_FORMATS]


def _jpeg(edit: Callable[[bytearray], None], path: Path, **words: Any) -> None:
    content = io.BytesIO()
    Image.fromarray(_PIXELS).save(content, "JPEG", **words)
    changed = bytearray(content.getvalue())
    edit(changed)
    path.write_bytes(changed)


def _sized(height: int, width: int, content: bytearray) -> None:
    place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)


def _many_scans(content: bytearray) -> None:
    """The last scan of a progressive file over and over: each costs the whole picture."""
    _sized(8000, 8000, content)
    start = content.rfind(b"\xff\xda")
    content[-2:-2] = content[start:-2] * 2000


def _segment(marker: bytes, length: int, content: bytearray) -> None:
    content[2:2] = marker + struct.pack(">H", length) + b"Exif\0\0MM\0*" + b"\xff" * 40


def _cmyk(content: bytearray) -> None:
    _as_four = io.BytesIO()
    Image.fromarray(_PIXELS).convert("CMYK").save(_as_four, "JPEG")
    content[:] = _as_four.getvalue()


def _jpeg_files() -> list[Write]:
    return [
        partial(_jpeg, partial(_sized, 65535, 65535)),
        partial(_jpeg, partial(_sized, 1200, 1200)),
        partial(_jpeg, partial(_sized, 0, 20)),
        partial(_jpeg, partial(_sized, 16, 0)),
        partial(_jpeg, partial(_sized, 1200, 1200), progressive=True),
        partial(_jpeg, _many_scans, progressive=True),
        partial(_jpeg, partial(_segment, b"\xff\xe1", 65535)),
        partial(_jpeg, partial(_segment, b"\xff\xe1", 52)),
        partial(_jpeg, partial(_segment, b"\xff\xe2", 2)),
        partial(_jpeg, partial(_segment, b"\xff\xdb", 52)),
        partial(_jpeg, _cmyk),
        *_OTHER_FORMATS,
    ]


_TAGS: dict[int, tuple[str, list[int]]] = {
    256: ("I", [20]),
    257: ("I", [16]),
    258: ("H", [8]),
    259: ("H", [1]),
    262: ("H", [1]),
    273: ("I", [0]),  # put in by `_tiff`
    277: ("H", [1]),
    278: ("I", [16]),
    279: ("I", [320]),
}
_TYPES = {"H": 3, "I": 4, "B": 2}


def _tiff(
    path: Path,
    data: bytes | None = None,
    words: bytes = b"",
    next_page: int = 0,
    **tags: tuple[str, list[int]],
) -> None:
    """One page; `tags` are named t256 and so on, `words` go into the description."""
    data = _PIXELS.tobytes() if data is None else data
    entries = _TAGS | {279: ("I", [len(data)])} | {int(name[1:]): value for name, value in tags.items()}
    if "t273" not in tags:
        entries[273] = ("I", [8 + len(words)])
    content = b"II*\0" + struct.pack("<I", 8 + len(words) + len(data)) + words + data
    after = len(content) + 2 + 12 * (len(entries) + bool(words)) + 4
    table, beside = b"", b""
    if words:
        entries[270] = ("B", list(words))
    for number, (form, values) in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}{form}", *values)
        if len(packed) > 4:
            packed, beside = struct.pack("<I", after + len(beside)), beside + packed
        table += struct.pack("<HHI", number, _TYPES[form], len(values)) + packed.ljust(4, b"\0")
    path.write_bytes(
        content + struct.pack("<H", len(entries)) + table + struct.pack("<I", next_page) + beside
    )


def _counted(path: Path, number: int, count: int) -> None:
    """A tag that claims to have very many values."""
    _tiff(path)
    content = bytearray(path.read_bytes())
    place = content.find(struct.pack("<HH", number, 4))
    content[place + 4 : place + 8] = struct.pack("<I", count)
    path.write_bytes(content)


def _page_loop(path: Path) -> None:
    """A page that is followed by itself."""
    _tiff(path)
    place = struct.unpack("<I", path.read_bytes()[4:8])[0]
    _tiff(path, next_page=place)


def _many_pages(path: Path) -> None:
    tifffile.imwrite(
        path, np.zeros((2000, 2, 2), np.uint8), photometric="minisblack", metadata=None, contiguous=False
    )


def _described(words: str, path: Path) -> None:
    _tiff(path, words=words.encode() + b"\0")


def _big_tiff(path: Path) -> None:
    path.write_bytes(b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63))


_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
_OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'
_PIXELS_OF = (
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{x}" SizeY="{y}" '
    'SizeZ="{z}" SizeC="1" SizeT="{t}" PhysicalSizeX="{step}"><TiffData IFD="0">{inside}</TiffData>'
    "</Pixels></Image>"
)


def _ome(inside: str = "", step: str = "1", **sizes: int) -> Write:
    words = {"x": 20, "y": 16, "z": 1, "t": 1} | sizes
    return partial(_described, _OME.format(_PIXELS_OF.format(inside=inside, step=step, **words)))


def _file_named(name: str) -> Write:
    return _ome(f'<UUID FileName="{name}">urn:uuid:00000000-0000-0000-0000-000000000001</UUID>')


def _named_pipe(path: Path) -> None:
    import os

    _file_named("pipe.ome.tif")(path)
    os.mkfifo(path.parent / "pipe.ome.tif")


_OME_FILES: list[Write] = [
    _ome(z=2**31 - 1),
    _ome(z=10**6, t=10**6),
    _ome(z=-1),
    _ome(x=10**9, y=10**9),
    _ome(step="1e12"),
    _ome(step="nan"),
    _ome(step="-5"),
    _ome(step="x"),
    _file_named("/dev/zero"),
    _file_named("../../../../../etc/passwd"),
    _named_pipe,
    partial(_described, f'<!DOCTYPE x [<!ENTITY l0 "ha">{_LAUGHS}]>' + _OME.format("&l11;")),
    partial(_described, '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + _OME.format("&f;")),
    partial(_described, _OME.format("<a>" * 100_000)),
    partial(_described, '<?xml version="1.0"?><OME><Image>'),
]


def _tiff_files() -> list[Write]:
    bomb = bombs.zlib_stream()
    one = {"t259": ("H", [8])}
    changes: list[dict[str, Any]] = [
        {"t256": ("I", [2**31 - 1]), "t257": ("I", [2**31 - 1])},
        {"t256": ("I", [2**16]), "t257": ("I", [2**16]), "t278": ("I", [2**16])},
        {"t256": ("I", [0])},
        {"t257": ("I", [0])},
        {"t258": ("H", [0])},
        {"t258": ("H", [64])},
        {"t258": ("H", [7])},
        {"t277": ("H", [65535])},
        {"t277": ("H", [0])},
        {"t278": ("I", [0])},
        {"t259": ("H", [5])},
        {"t259": ("H", [7])},
        {"t259": ("H", [50000])},
        {"t259": ("H", [34925])},
        {"t259": ("H", [8])},
        {"t262": ("H", [3])},
        {"t262": ("H", [3]), "t320": ("H", [0] * 5)},
        {"t262": ("H", [9999])},
        {"t273": ("I", [2**31])},
        {"t279": ("I", [2**31])},
        {"t339": ("H", [9])},
        {"t322": ("I", [2**31]), "t323": ("I", [2**31]), "t324": ("I", [8]), "t325": ("I", [320])},
        {"t322": ("I", [16]), "t323": ("I", [16]), "t324": ("I", [8]), "t325": ("I", [256])},
        {"t322": ("I", [0]), "t323": ("I", [16]), "t324": ("I", [8]), "t325": ("I", [256])},
        one | {"data": bomb},
        one | {"data": bomb, "t256": ("I", [50_000]), "t257": ("I", [50_000]), "t278": ("I", [50_000])},
        {
            "t259": ("H", [32773]),
            "data": b"\x81\0" * 32,
            "t256": ("I", [64]),
            "t257": ("I", [64]),
        },
        {"t330": ("I", [8])},
        {"t330": ("I", [2**31])},
        {"t32997": ("I", [2**31])},
    ]
    words = [
        '{"shape": [1000000, 1000000, 1000000]}',
        '{"shape": [-1, 16, 20]}',
        '{"shape": "x"}',
        "ImageJ=1.54\nimages=1000000000\nslices=1000000000\n",
        "ImageJ=1.54\nimages=6\nslices=6\nspacing=nan\nunit=mm\n",
        "ImageJ=1.54\nimages=-6\nfinterval=1e400\nunit=micron\n",
    ]
    return [
        *(partial(_tiff, **change) for change in changes),
        *(partial(_described, text) for text in words),
        partial(_counted, number=273, count=2**30),
        partial(_counted, number=256, count=2**31),
        _page_loop,
        _many_pages,
        _big_tiff,
    ]


PICTURES: dict[str, list[Write]] = {
    "png": _png_files(),
    "bmp": _bmp_files(),
    "jpeg": _jpeg_files(),
    "tiff": _tiff_files(),
    "ome_tiff": [*_OME_FILES, *_tiff_files()],
    "tiff_pyramid": _tiff_files(),
}
"""By kind of `sound_files`."""
