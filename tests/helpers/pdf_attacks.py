"""PDFs that nobody should send, of kinds that hold a reader, or want more memory than there is:
loops, trees that are none, what unpacks, programs, and codecs whose headers promise too much."""

import struct
import zlib
from collections.abc import Callable, Sequence

from .pdfs import flate_bomb, one_page, raw, stream

DRAW = stream(b"200 0 0 200 0 0 cm /I Do")
MANY = 4_000_000_000


def picture(data: bytes, about: bytes, width: int = 60_000, height: int = 60_000) -> bytes:
    """A page with one picture, of this filter and these data."""
    head = b"/Type/XObject/Subtype/Image/Width %d/Height %d%s" % (width, height, about)
    return one_page(DRAW, b"/XObject<</I 5 0 R>>", others=[stream(data, head)])


def with_table(objects: Sequence[bytes], trailer: bytes, table: bytes = b"") -> bytes:
    """`table`: in place of the right one; %START% is where it begins."""
    data = raw(objects, trailer)
    start = data.rindex(b"xref\n0")
    if table:
        end = b"startxref\n%d\n%%%%EOF\n" % start
        data = data[:start] + table + b"\n" + end
    return data.replace(b"%START%", b"%d" % start)


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
PAGES = b"<</Type/Pages/Count 1/Kids[3 0 R]>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>"
PLAIN = (CATALOG, PAGES, PAGE)


def xref_stream(about: bytes, data: bytes = b"") -> bytes:
    body = stream(data, b"/Type/XRef/Root 1 0 R" + about)
    return with_table(PLAIN, b"", b"9 0 obj\n%s\nendobj" % body)


def object_stream(inside: bytes, about: bytes) -> bytes:
    """Which holds the page, if the reader finds it there."""
    packed = stream(inside, b"/Type/ObjStm" + about, packed=True)
    objects = with_table((CATALOG, PAGES, b"null", packed), b"")
    start = objects.rindex(b"xref\n0")
    places = [objects.index(b"\n%d 0 obj" % number) + 1 for number in (1, 2, 4)]
    rows = b"".join(
        struct.pack(">BIB", kind, place, 0)
        for kind, place in ((0, 0), (1, places[0]), (1, places[1]), (2, 4), (1, places[2]))
    )
    table = stream(rows, b"/Type/XRef/Root 1 0 R/W[1 4 1]/Size 5")
    return objects[:start] + b"9 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (table, start)


def fan(depth: int, wide: int) -> bytes:
    """A tree of pages in which each node is the next one's child many times."""
    objects = [CATALOG]
    for at in range(depth):
        kids = b"%d 0 R " % (at + 3) * wide
        objects.append(b"<</Type/Pages/Count %d/Kids[%s]>>" % (wide ** (depth - at), kids))
    return raw([*objects, b"<</Type/Page/MediaBox[0 0 200 200]>>"])


def glyphs(fonts: int, wide: int) -> bytes:
    """Fonts of Type 3 whose glyphs write with the next; the last one's with the first."""
    others: list[bytes] = []
    for at in range(fonts):
        own, following = 5 + 2 * at, 5 + 2 * ((at + 1) % fonts)
        others.append(
            b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[1 0 0 1 0 0]/FirstChar 97"
            b"/LastChar 97/Widths[9]/Encoding<</Differences[97/a]>>/CharProcs<</a %d 0 R>>"
            b"/Resources<</Font<</F %d 0 R>>>>>>" % (own + 1, following)
        )
        others.append(stream(b"9 0 d0 BT /F 9 Tf (%s) Tj ET" % (b"a" * wide)))
    return one_page(
        stream(b"BT /F 9 Tf (%s) Tj ET" % (b"a" * wide)), b"/Font<</F 5 0 R>>", others=others
    )


def pattern(about: bytes, content: bytes = b"0 0 1 1 re f") -> bytes:
    tile = stream(content, b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1" + about)
    return one_page(
        stream(b"/Pattern cs /P scn 0 0 200 200 re f"), b"/Pattern<</P 5 0 R>>", others=[tile]
    )


def shading(function: bytes, *others: bytes) -> bytes:
    shade = b"<</ShadingType 1/ColorSpace/DeviceGray/Domain[0 1 0 1]/Function 6 0 R>>"
    return one_page(stream(b"200 0 0 200 0 0 cm /S sh"), b"/Shading<</S 5 0 R>>",
                    others=[shade, function, *others])  # fmt: skip


def jpx(width: int, height: int, parts: int = 3, tile: int = 0) -> bytes:
    size = struct.pack(
        ">HIIIIIIIIH", 0, width, height, 0, 0, tile or width, tile or height, 0, 0, parts
    )
    body = size + b"\7\1\1" * parts
    head = b"\xff\x4f\xff\x51" + struct.pack(">H", len(body) + 2) + body
    cod = b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 0, 1, 0, 5, 4, 4, 0, 0)
    qcd = b"\xff\x5c" + struct.pack(">HB", 19, 0x40) + b"\x40" * 16
    sot = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(64)
    return picture(head + cod + qcd + sot + b"\xff\xd9", b"/Filter/JPXDecode", width, height)


def jpeg(width: int, height: int) -> bytes:
    sof = b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\3\1\x22\0\2\x11\1\3\x11\1"
    scan = b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0" + bytes(200)
    about = b"/Filter/DCTDecode/ColorSpace/DeviceRGB/BitsPerComponent 8"
    return picture(b"\xff\xd8" + sof + scan * 50 + b"\xff\xd9", about, width, height)


def jbig2(kind: int, body: bytes) -> bytes:
    page = struct.pack(">IIIIBH", 60_000, 60_000, 0, 0, 0, 0)
    segments = struct.pack(">IBBBI", 0, 48, 0, 1, len(page)) + page
    segments += struct.pack(">IBBBI", 1, kind, 0, 1, len(body)) + body
    about = b"/Filter/JBIG2Decode/ColorSpace/DeviceGray/BitsPerComponent 1"
    return picture(segments, about)


def text(font: bytes, *others: bytes, words: bytes = b"<0001000200030004>") -> bytes:
    return one_page(stream(b"BT /F 9 Tf %s Tj ET" % words), b"/Font<</F 5 0 R>>",
                    others=[font, *others])  # fmt: skip


def encrypted(about: bytes) -> bytes:
    keys = b"/ID[(0123456789abcdef)(0123456789abcdef)]/Encrypt<</Filter/Standard%s>>" % about
    return with_table(PLAIN, keys)


def form(catalog: bytes, *others: bytes, page: bytes = b"") -> bytes:
    """A page that can be drawn, in a document that asks for more. `others`: from object 5 on."""
    return one_page(stream(b"0 0 1 rg 0 0 9 9 re f"), catalog=catalog, page=page, others=others)


LAUGHS = b"<!DOCTYPE l [<!ENTITY a 'ha'>%s]><l>&z;</l>" % b"".join(
    b"<!ENTITY %c '%s'>" % (at + 1, b"&%c;" % at * 10) for at in range(97, 122)
)
APPEARANCE = (
    b"<</Type/Annot/Subtype/Stamp/Rect[0 0 200 200]/AP<</N 6 0 R>>>>",
    stream(
        b"/N Do /N Do",
        b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</N 6 0 R>>>>",
    ),
)
MASK = (
    b"<</Type/ExtGState/SMask<</S/Luminosity/G 6 0 R>>>>",
    stream(
        b"/M gs 0 0 200 200 re f",
        b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Group<</S/Transparency>>"
        b"/Resources<</ExtGState<</M 5 0 R>>>>",
    ),
)
CID = (
    b"<</Type/Font/Subtype/Type0/BaseFont/A/Encoding/Identity-H/DescendantFonts[6 0 R]"
    b"/ToUnicode 7 0 R>>"
)
LOOPS: dict[str, Callable[[], bytes]] = {
    "a table before itself": lambda: with_table(PLAIN, b"/Prev %START%"),
    "a table of as many as there are numbers": lambda: with_table(
        PLAIN, b"", b"xref\n0 %d\n0000000000 65535 f \ntrailer<</Root 1 0 R/Size %d>>"
        % (MANY, MANY)),
    "a stream of places before itself": lambda: xref_stream(b"/W[1 4 1]/Size 4/Prev %START%"),
    "a stream of places of eight bytes": lambda: xref_stream(
        b"/W[2147483647 2147483647 8]/Size 2147483647/Index[0 2147483647]", bytes(64)),
    "no table, and a hundred thousand objects": lambda: (
        b"%PDF-1.7\n" + b"".join(b"%d 0 obj<</A[1 0 R]>>endobj\n" % at for at in range(100_000))
    ),
    "a length that is its own": lambda: one_page(
        b"<</Length 4 0 R>>\nstream\n0 0 9 9 re f\nendstream"),
    "pages that are each other's": lambda: raw(
        [CATALOG, b"<</Type/Pages/Count 9/Kids[3 0 R]>>",
         b"<</Type/Pages/Count 9/Kids[2 0 R 3 0 R]>>"]),
    "a tree of pages of many branches": lambda: fan(12, 40),
    "a page that is its own parent": lambda: raw(
        [CATALOG, PAGES, b"<</Type/Page/Parent 3 0 R>>"]),
    "a box of itself": lambda: one_page(stream(b""), page=b"/CropBox 5 0 R", others=[b"5 0 R"]),
    "names and outlines in rings": lambda: form(
        b"/Names<</JavaScript 5 0 R/EmbeddedFiles 5 0 R/Dests 5 0 R>>/Outlines 6 0 R",
        b"<</Kids[5 0 R 5 0 R]/Names[(a) 5 0 R]/Limits[(a)(z)]>>",
        b"<</First 6 0 R/Last 6 0 R/Next 6 0 R/Parent 6 0 R/Count 9>>"),
    "a stamp that stamps itself": lambda: form(b"", *APPEARANCE, page=b"/Annots[5 0 R]"),
    "a mask that masks itself": lambda: one_page(
        stream(b"/M gs 0 0 200 200 re f"), b"/ExtGState<</M 5 0 R>>", others=MASK),
    "a glyph that writes itself": lambda: glyphs(1, 4),
    "fonts that write each other": lambda: glyphs(12, 12),
    "a pattern of itself": lambda: pattern(
        b"/BBox[0 0 9 9]/XStep 9/YStep 9/Resources<</Pattern<</P 5 0 R>>>>",
        b"/Pattern cs /P scn 0 0 9 9 re f"),
    "a function of itself": lambda: shading(
        b"<</FunctionType 3/Domain[0 1]/Functions[6 0 R 6 0 R]/Bounds[.5]/Encode[0 1 0 1]>>"),
}  # fmt: skip
SIZES: dict[str, Callable[[], bytes]] = {
    "objects in 16 MiB of blanks": lambda: object_stream(
        b"3 0 " + b" " * (1 << 24) + PAGE, b"/N 1/First 4"),
    "more objects in a stream than it has bytes": lambda: object_stream(
        b"3 0 " + PAGE, b"/N 2147483647/First 4"),
    "a stream of objects that goes on in itself": lambda: object_stream(
        b"4 0 " + PAGE, b"/N 1/First 4/Extends 4 0 R"),
    "a box of all numbers": lambda: one_page(stream(b""), box=b"-1e38 -1e38 1e38 1e38"),
    "a box from right to left": lambda: one_page(stream(b""), box=b"200 200 0 0"),
    "a unit of a country": lambda: one_page(stream(b""), page=b"/UserUnit 1e30/Rotate 2147483647"),
    "a tile of nothing": lambda: pattern(b"/BBox[0 0 1 1]/XStep 1e-7/YStep 1e-7"),
    "a table of samples": lambda: shading(
        stream(b"", b"/FunctionType 0/Domain[0 1 0 1]/Range[0 1]/Size[65535 65535]"
               b"/BitsPerSample 32")),
    "a program for every point": lambda: shading(
        stream(b"{%s}" % (b"sin exch cos exch " * 20_000),
               b"/FunctionType 4/Domain[0 1 0 1]/Range[0 1]")),
    "a million dashes": lambda: one_page(stream(b"[1e-6 1e-6] 0 d 0 0 m 1e6 1e6 l S")),
    "a million brackets": lambda: flate_bomb(1, b"q ", 1 << 21),
    "a picture within the page": lambda: one_page(
        stream(b"BI /W 60000 /H 60000 /BPC 8 /CS /RGB ID abc EI")),
    "a row of two thousand million numbers": lambda: picture(
        zlib.compress(bytes(99)), b"/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode"
        b"/DecodeParms<</Predictor 15/Columns 2147483647/Colors 2147483647"
        b"/BitsPerComponent 16>>"),
    "two hundred filters": lambda: one_page(
        stream(b"00>" * 999, b"/Filter[%s]" % (b"/ASCIIHexDecode" * 200))),
    "a fax of a thousand million rows": lambda: picture(
        b"\0\1" * 999, b"/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/CCITTFaxDecode"
        b"/DecodeParms<</K -1/Columns 1000000000/Rows 1000000000>>", 10**9, 10**9),
    "a JPEG as large as there is": lambda: jpeg(65_500, 65_500),
    "JPEG 2000 of a square kilometre": lambda: jpx(60_000, 60_000),
    "JPEG 2000 in tiles of one point": lambda: jpx(60_000, 60_000, tile=1),
    "JPEG 2000 of 16,384 colours": lambda: jpx(4_000, 4_000, 16_384),
    "JBIG2 of one region": lambda: jbig2(
        38, struct.pack(">IIIIBB", 60_000, 60_000, 0, 0, 0, 0) + bytes(8) + bytes(99)),
    "JBIG2 of all symbols": lambda: jbig2(
        0, struct.pack(">H", 0) + bytes(8) + struct.pack(">II", MANY, MANY) + bytes(99)),
    "letters of a map without end": lambda: text(
        CID, b"<</Type/Font/Subtype/CIDFontType2/BaseFont/A/W[0 2147483647 9]"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>",
        stream(b"1 begincodespacerange <0000> <ffff> endcodespacerange 1 beginbfrange "
               b"<00000000> <ffffffff> <0041> endbfrange")),
}  # fmt: skip
ASKING: dict[str, Callable[[], bytes]] = {
    "locked by keys that are not there": lambda: encrypted(b"/V 5/R 6/Length 256/P -4"),
    "locked by itself": lambda: encrypted(
        b"/V 4/R 4/Length 128/P -4/O(%s)/U(%s)/CF<</StdCF<</CFM/AESV2/Length 16>>>>/StmF/StdCF"
        % (b"o" * 32, b"u" * 32)),
    "a form of laughs": lambda: form(
        b"/AcroForm<</Fields[]/XFA[(template) 5 0 R]>>/NeedsRendering true", stream(LAUGHS)),
    "a form that calls home": lambda: form(
        b"/AcroForm<</Fields[6 0 R]/CO[6 0 R]/XFA 5 0 R>>",
        stream(b"<subform><event activity='initialize'><script contentType='application/"
               b"x-javascript'>while(true){}</script></event></subform>"),
        b"<</FT/Tx/T(a)/Kids[6 0 R]/AA<</C<</S/JavaScript/JS(while\\(1\\){})>>>>>>"),
    "files in files": lambda: form(
        b"/Names<</EmbeddedFiles<</Names[(a.pdf) 5 0 R]>>>>/Collection<</View/T>>",
        b"<</Type/Filespec/F(../../a.pdf)/EF<</F 6 0 R>>/RF<</F[(a) 6 0 R]>>>>",
        stream(b"%PDF-1.7", b"/Type/EmbeddedFile", packed=True)),
}  # fmt: skip
ATTACKS = {**LOOPS, **SIZES, **ASKING}
DRAWN = {"a form of laughs", "a form that calls home", "files in files"}
"""Of which the page is drawn, and nothing else is done."""
