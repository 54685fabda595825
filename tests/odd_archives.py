"""Zip files as other programs write them: their entries say so, and that is what Python looks at first."""

import io
import struct
import zipfile

DEFLATE64, ZSTANDARD = 9, 93  # methods of compression
PASSWORD = 1  # a flag


def packed_as(content, method=zipfile.ZIP_DEFLATED, flags=0):
    """The bytes of a zip file whose entries say that they are packed with the `method`, and have the `flags`."""
    changed = bytearray(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        place = archive.start_dir
        for entry in archive.infolist():
            # where flags and method stand, in front of the entry's bytes and in the list at the end
            struct.pack_into("<HH", changed, entry.header_offset + 6, flags, method)
            struct.pack_into("<HH", changed, place + 8, flags, method)
            place += 46 + sum(struct.unpack_from("<HHH", changed, place + 28))
    return bytes(changed)
