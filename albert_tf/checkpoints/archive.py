"""Released archives: `.tar.gz` files, extracted with suspicion."""

import os
import shutil
import tarfile
import zlib

from albert_tf.errors import InputError

_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)


def is_archive(path: str) -> bool:
    """Whether a file is a tar archive or compressed, by its first bytes."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(512)
    return start.startswith(_MAGIC) or start[257:262] == b"ustar"


def extract(path: str, folder: str) -> None:
    """Extracts files and folders.

    Raises:
      InputError: the archive is damaged, larger than the free disk space, or has a member that is a link, a
        device or outside the folder.
    """
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            for member in members:
                _check(member, path)
            needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise InputError(f"{path} holds {needed:,} bytes, but {folder} has room for {free:,}")
            archive.extractall(folder, filter="data")
    except _BROKEN as error:
        raise InputError(f"{path} is no tar archive or a damaged one: {error}") from None


def _check(member: tarfile.TarInfo, path: str) -> None:
    outside = os.path.isabs(member.name) or ".." in member.name.split("/")
    if outside or not (member.isfile() or member.isdir()):
        what = "would be outside the folder" if outside else "is a link or a device"
        raise InputError(f"{path} is refused: its member {member.name!r} {what}")
