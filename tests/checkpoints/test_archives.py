"""Archives of weights: damaged, dangerous and too large ones are refused before anything is used."""

import contextlib
import io
import pathlib
import shutil
import tarfile

import pytest

from albert_tf.checkpoints.sources import extract
from albert_tf.errors import InputError

CONTENT = bytes(range(256)) * 40


def member(name: str, size: int = len(CONTENT), **fields) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def write_archive(
    path: pathlib.Path, *members: tarfile.TarInfo, mode: str = "w:gz", content: bytes = CONTENT
) -> pathlib.Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for each in members:
            archive.addfile(each, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    (tmp_path / "extracted").mkdir()
    return tmp_path / "extracted"


def refusal(path: pathlib.Path, folder: pathlib.Path, **options) -> str:
    with pytest.raises(InputError) as error:
        extract(str(path), str(folder), **options)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_told_by_its_content_and_extracted(mode, tmp_path, folder):
    extract(str(write_archive(tmp_path / "weights", member("release/model"), mode=mode)), str(folder))
    assert (folder / "release" / "model").read_bytes() == CONTENT


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_no_flipped_bit_gives_other_content(mode, tmp_path, folder):
    path = write_archive(tmp_path / "weights", member("model"), mode=mode)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 50)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            extract(str(path), str(folder))
            assert (folder / "model").read_bytes() == CONTENT  # the bit was in a field such as the time


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("left", [0.01, 0.4, 0.999])
def test_a_truncated_archive_is_one_line(mode, left, tmp_path, folder):
    members = [member("a"), member("b")] if mode == "w" else [member("a")]
    path = write_archive(tmp_path / "weights", *members, mode=mode)
    if mode == "w":  # without what fills it to whole blocks
        path.write_bytes(path.read_bytes()[: 1024 + 2 * len(CONTENT)])
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    assert "weights is no tar archive or a damaged one" in refusal(path, folder)


def test_a_damaged_header_does_not_hide_what_follows(tmp_path, folder):
    path = write_archive(tmp_path / "a.tar", member("a"), member("b"), mode="w")
    whole = bytearray(path.read_bytes())
    whole[512 + len(CONTENT)] ^= 1  # the name of the second member
    path.write_bytes(whole)
    assert "damaged one: something follows its end" in refusal(path, folder)


@pytest.mark.parametrize(("fields", "message"), [
    ({"name": "../evil"}, "outside the folder"),
    ({"name": "/etc/evil"}, "outside the folder"),
    ({"name": "a/../../evil"}, "outside the folder"),
    ({"name": "evil", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link, a device"),
    ({"name": "evil", "type": tarfile.LNKTYPE, "linkname": "other"}, "a link, a device"),
    ({"name": "evil", "type": tarfile.CHRTYPE}, "a link, a device"),
    ({"name": "evil", "type": tarfile.FIFOTYPE}, "a link, a device"),
    ({"name": "evil", "pax_headers": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}}, "a sparse file"),
    ({"name": "evil\x1b[2J"}, "has a name that cannot be shown"),
    ({"name": "evil\n"}, "has a name that cannot be shown"),
    ({"name": "evil\udcff"}, "has a name that cannot be shown"),
    ({"name": "evil/" * 1200}, "lies in more than 16 folders"),
])  # fmt: skip
def test_a_dangerous_member_is_refused_by_name(fields, message, tmp_path, folder):
    path = write_archive(tmp_path / "a.tar.gz", member(size=0, **fields))
    refused = refusal(path, folder)
    assert "a.tar.gz is refused: its member '" in refused
    assert message in refused
    assert not (tmp_path / "evil").exists()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("headers", [
    {"size": "-1"}, {"size": "1" + "0" * 30}, {"size": "99"}, {"size": "many"}, {"mtime": "1e400"},
    {"GNU.sparse.map": "0,zz", "GNU.sparse.size": "9"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1" + "0" * 13},
])  # fmt: skip
def test_headers_that_lie_are_one_line(headers, tmp_path, folder):
    path = write_archive(tmp_path / "a.tar.gz", member("model", pax_headers=headers))
    assert "a.tar.gz is no tar archive or a damaged one" in refusal(path, folder)


def test_the_size_and_the_number_of_members_have_bounds(tmp_path, folder, monkeypatch):
    zeros = write_archive(tmp_path / "a.tar.gz", member("model", 1 << 20), content=bytes(1 << 20))
    extract(str(zeros), str(folder), largest=1 << 21)
    assert "it unpacks to more than 1,000,000 bytes, though it has" in refusal(zeros, folder, largest=10**6)
    many = write_archive(tmp_path / "b.tar.gz", *(member("empty", size=0) for _ in range(1001)))
    assert "has more than 1,000 members" in refusal(many, folder)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert f"more than 1,000 bytes, the room in {folder}" in refusal(zeros, folder)
