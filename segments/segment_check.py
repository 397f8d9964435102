"""Whether a segment's bytes are what its name says. Apart from those that read rows, because it needs no Arrow."""

import google_crc32c

from segments.disk import Disk
from segments.errors import Corruption, Unreadable
from segments.manifest import SegmentRef


def check_segment(disk: Disk, ref: SegmentRef) -> None:
    """Compare the whole file with the checksum in its name. Raises Corruption."""
    crc = 0
    try:
        for piece in disk.pieces(ref.path):
            crc = google_crc32c.extend(crc, piece)
    except OSError as error:
        raise Unreadable.unless_missing(error, "the segment", ref.path) from error
    if crc != ref.name.crc32c:
        raise Corruption("the segment's bytes do not match the checksum in its name", path=ref.path)
