"""PDFs made here, byte by byte: plain ones, and those that nobody should send."""

import zlib
from collections.abc import Iterable, Sequence
from io import BytesIO

from PIL import Image

A4 = (595, 842)


def of_pictures(pictures: Sequence[Image.Image], dpi: float = 72.0) -> bytes:
    """By Pillow: one picture on each page, filling it."""
    file = BytesIO()
    first, *others = pictures
    first.save(file, "PDF", save_all=True, append_images=others, resolution=dpi)
    return file.getvalue()


def raw(objects: Iterable[bytes], trailer: bytes = b"") -> bytes:
    """Objects 1, 2 ..., the first of which is the catalog, with a right table of them."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    head = b"trailer\n<</Size %d /Root 1 0 R %s>>\n" % (len(places) + 1, trailer)
    return bytes(out + head + b"startxref\n%d\n%%%%EOF\n" % start)


def stream(data: bytes, about: bytes = b"", packed: bool = False) -> bytes:
    if packed:
        data, about = zlib.compress(data, 9), about + b"/Filter/FlateDecode"
    return b"<</Length %d %s>>\nstream\n%s\nendstream" % (len(data), about, data)


def of_texts(
    texts: Sequence[str], size: tuple[float, float] = A4, more: bytes = b"", page: bytes = b""
) -> bytes:
    """A page for each, with Helvetica. `more`: of the catalog; `page`: of each page."""
    pages = [3 + 2 * at for at in range(len(texts))]
    kids = b" ".join(b"%d 0 R" % number for number in pages)
    font = 3 + 2 * len(texts)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R %s>>" % more,
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(texts), kids),
    ]
    for at, text in enumerate(texts):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Contents %d 0 R"
            b"/Resources<</Font<</F %d 0 R>>>>%s>>" % (*size, 4 + 2 * at, font, page)
        )
        lines = b" ".join(b"(%s) Tj T*" % line.encode() for line in text.split("\n"))
        objects.append(stream(b"BT /F 24 Tf 30 TL 40 700 Td %s ET" % lines))
    objects.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    return raw(objects)


def one_page(
    content: bytes,
    resources: bytes = b"",
    box: bytes = b"0 0 200 200",
    others: Sequence[bytes] = (),
    page: bytes = b"",
    catalog: bytes = b"",
) -> bytes:
    """`content`: object 4, a stream; `others`: objects from 5 on."""
    return raw(
        [
            b"<</Type/Catalog/Pages 2 0 R %s>>" % catalog,
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R/Resources<<%s>>%s>>"
            % (box, resources, page),
            content,
            *others,
        ]
    )


def flate_bomb(layers: int = 2, inside: bytes = b"q Q ", size: int = 1 << 30) -> bytes:
    """`size` bytes of a page's content, packed again and again."""
    packer = zlib.compressobj(9)
    piece = inside * ((1 << 20) // len(inside))
    data = b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()
    for _ in range(layers - 1):
        data = zlib.compress(data, 9)
    filters = b"/Filter[%s]" % (b"/FlateDecode" * layers)
    return one_page(stream(data, filters))


def image_bomb(width: int = 60_000, height: int = 60_000, bits: int = 8) -> bytes:
    """A picture of a few kilobytes whose rows take gigabytes."""
    row = b"\0" * (width * bits // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(min(height, 2000))) + packer.flush()
    about = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent %d" % (
        width, height, bits,
    )  # fmt: skip
    about += b"/ColorSpace/DeviceGray/Filter/FlateDecode"
    return one_page(
        stream(b"200 0 0 200 0 0 cm /I Do"), b"/XObject<</I 5 0 R>>", others=[stream(data, about)]
    )


def jbig2_bomb(width: int = 65_000, height: int = 65_000) -> bytes:
    """A page of JBIG2 whose header promises gigabytes."""
    page = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes(8) + b"\0\0\0"
    segment = b"\0\0\0\0\x30\0\1" + len(page).to_bytes(4, "big") + page
    about = (
        b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 1"
        b"/ColorSpace/DeviceGray/Filter/JBIG2Decode" % (width, height)
    )
    return one_page(
        stream(b"200 0 0 200 0 0 cm /I Do"),
        b"/XObject<</I 5 0 R>>",
        others=[stream(segment, about)],
    )


def nested_forms(depth: int = 24, fan: int = 8) -> bytes:
    """Each form draws the next several times: fan ** depth in all."""
    draw = b"/N Do " * fan
    others = [
        stream(
            draw,
            b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</XObject<</N %d 0 R>>>>"
            % (6 + at),
        )
        for at in range(depth)
    ]
    last = stream(b"0 0 9 9 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]")
    return one_page(stream(b"/N Do"), b"/XObject<</N 5 0 R>>", others=[*others, last])


def endless_form() -> bytes:
    """A form that draws itself."""
    form = stream(
        b"/N Do /N Do",
        b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</XObject<</N 5 0 R>>>>",
    )
    return one_page(stream(b"/N Do"), b"/XObject<</N 5 0 R>>", others=[form])


def deep_tree(depth: int = 20_000) -> bytes:
    """Arrays within arrays, in the page's own dictionary."""
    deep = b"[" * depth + b"]" * depth
    return one_page(stream(b""), page=b"/Deep %s" % deep)


def deep_pages(depth: int = 5_000) -> bytes:
    """A tree of pages as deep as a list."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    objects += [
        b"<</Type/Pages/Count 1/Kids[%d 0 R]%s>>"
        % (at + 3, b"" if not at else b"/Parent %d 0 R" % (at + 1))
        for at in range(depth)
    ]
    objects.append(b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 200 200]>>" % (depth + 1))
    return raw(objects)


def circular_pages() -> bytes:
    return raw(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count 3/Kids[2 0 R 2 0 R 2 0 R]/Parent 2 0 R>>",
        ]
    )


def counted(count: int) -> bytes:
    """One page, and a header that says so many."""
    return raw(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count %d/Kids[3 0 R]>>" % count,
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
        ]
    )


def active(marker: str) -> bytes:
    """Everything that a document can ask a viewer to do. `marker`: a file, by its path, and the
    URL of which nobody should hear."""
    path = marker.encode()
    script = b"<</S/JavaScript/JS(app.launchURL\\('%s'\\); while\\(true\\){})>>" % path
    launch = b"<</S/Launch/F(/bin/sh)/Win<</F(cmd.exe)/P(%s)>>>>" % path
    link = b"<</S/URI/URI(%s)>>" % path
    submit = b"<</S/SubmitForm/F<</FS/URL/F(%s)>>/Flags 0>>" % path
    elsewhere = b"<</S/GoToR/F(%s)/D[0/Fit]>>" % path
    embedded = stream(b"MZ" + b"\0" * 64, b"/Type/EmbeddedFile")
    catalog = (
        b"/OpenAction %s/AA<</WC %s/WS %s>>"
        b"/Names<</JavaScript<</Names[(a) %s]>>/EmbeddedFiles<</Names[(e.exe) 6 0 R]>>>>"
        b"/AcroForm<</Fields[5 0 R]/XFA 8 0 R/NeedAppearances true>>"
        % (script, launch, submit, script)
    )
    widget = (
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(filled in)/Rect[10 10 100 40]"
        b"/A %s/AA<</Fo %s/PO %s/K %s>>>>" % (launch, script, script, script)
    )
    filespec = b"<</Type/Filespec/F(e.exe)/EF<</F 7 0 R>>>>"
    xfa = stream(b"<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'><script>while(1);</script>")
    outside = stream(b"", b"/F(%s)/FFilter/FlateDecode" % path)
    return one_page(
        stream(b"0 0 1 rg 50 50 100 100 re f"),
        catalog=catalog,
        page=b"/AA<</O %s/C %s>>/Annots[5 0 R <</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A %s>> "
        b"<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A %s>>"
        b"<</Type/Annot/Subtype/RichMedia/Rect[0 0 9 9]/FS 6 0 R>>]"
        % (launch, elsewhere, link, submit),
        others=[widget, filespec, embedded, xfa, outside],
    )
