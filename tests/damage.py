"""Ways in which a file on disk stops being what was written."""

from __future__ import annotations

from pathlib import Path

DAMAGES = ("flipped", "cut", "empty", "gone")


def damaged(path: Path, how: str) -> None:
    """Damages a file: one bit in its middle flipped, its second half cut off, emptied, or removed."""
    content = path.read_bytes()
    middle = len(content) // 2
    if how == "gone":
        path.unlink()
    else:
        new = {
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "cut": content[:middle],
            "empty": b"",
        }
        path.write_bytes(new[how])
