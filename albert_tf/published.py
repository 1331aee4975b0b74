"""Published weights: their names, and how they come here from Hugging Face's hub or from an address.

Nothing here imports TensorFlow, so that a wrong name is refused at once.
"""

import base64
import contextlib
import difflib
import fnmatch
import hashlib
import os
import re
import shutil
import sys
import time
import urllib.parse
from collections.abc import Mapping

from filelock import FileLock
from tqdm import tqdm

from albert_tf.errors import InputError
from albert_tf.files import file_digest, files_that_begin_with, has_scheme, move_file, within, write_text

_HERE = os.path.join(os.path.dirname(__file__), "weights")  # what this package brings along
_ARCHIVES = "https://storage.googleapis.com/albert_models"  # of the original release
# Name -> `owner/name@revision` on Hugging Face's hub, an address, or a path. The hub has pickles only of two.
WEIGHTS: Mapping[str, str] = {
    "albert-small-demo": os.path.join(_HERE, "albert-small-demo"),
    "albert-base-v1": "albert/albert-base-v1@082438ba120d36b97b9288772a41144e941705b9",
    "albert-large-v1": f"{_ARCHIVES}/albert_large_v1.tar.gz",
    "albert-xlarge-v1": "albert/albert-xlarge-v1@d27456aedbb886136ced8326523680b3dd7d7e80",
    "albert-xxlarge-v1": f"{_ARCHIVES}/albert_xxlarge_v1.tar.gz",
    "albert-base-v2": "albert/albert-base-v2@8e2f239c5f8a2c0f253781ca60135db913e5c80c",
    "albert-large-v2": "albert/albert-large-v2@1e2b86a91a3c63b5707d038747fb30838d9e7bac",
    "albert-xlarge-v2": "albert/albert-xlarge-v2@4fd2c2aa9aeb305f87704a7e595be7bfffa3db88",
    "albert-xxlarge-v2": "albert/albert-xxlarge-v2@97d3e58863d3a41dc581882f73b34d110b18f1f8",
    "albert-base-zh": f"{_ARCHIVES}/albert_base_zh.tar.gz",
    "albert-large-zh": f"{_ARCHIVES}/albert_large_zh.tar.gz",
    "albert-xlarge-zh": f"{_ARCHIVES}/albert_xlarge_zh.tar.gz",
    "albert-xxlarge-zh": f"{_ARCHIVES}/albert_xxlarge_zh.tar.gz",
}

_ON_HUB = re.compile(
    r"([a-z0-9][\w.-]{0,95})/[a-z0-9][\w.-]{0,95}(@[\w./-]{1,200})?", re.ASCII | re.IGNORECASE
)
_OF_FILES = re.compile(r"\.ckpt|\.(index|gz|tgz|tar|safetensors|bin|json)$")
_WANTED = ("*.json", "model*.safetensors", "*.model", "vocab.txt")  # no pickles
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_COMPRESSED = "tf-hub-format=compressed"  # asks TF-Hub and Kaggle for an archive
PATIENCE = 1800.0  # seconds for the download of weights
_TRIES, _PAUSE = 5, 1.0  # of a download that breaks off; seconds between them
_TIMEOUT = (10.0, 60.0)  # seconds for a connection, and without a byte
_SPARE = 1 << 28  # bytes of the disk that a download leaves free


def missing(given: str) -> str | None:
    """Why nothing can be there for a path or name of weights, in one line; None if something may be."""
    if has_scheme(given) or _is_here(given) or _source_of(given):
        return None
    near = _near(given)
    more = f", nor do weights of that name; there are {', '.join(near)}" if near else ""
    return f"{given} does not exist{more}"


def local_weights(given: str, patience: float = PATIENCE) -> str:
    """The path of weights: `given` if it is a path, else of what is fetched for it and kept.

    Args:
      given: a path; a name of `WEIGHTS`; `owner/name[@revision]` on Hugging Face's hub; or the http(s)
        address of an archive. What exists on this machine overrides names.
      patience: seconds; if they are over, what has come is kept, and the next call goes on from there.

    Returns:
      A folder with safetensors, or an archive, or `given`.

    Raises:
      InputError: a name is misspelt, or the weights cannot be fetched, or are not what the hub promises.
    """
    source = _source_of(given)
    if source is None:
        if _near(given) and (problem := missing(given)):
            raise InputError(problem)
        return given
    if os.path.exists(source):
        return source
    fetch = _from_address if has_scheme(source) else _from_hub
    try:
        return within(patience, lambda: fetch(source))
    except InputError:
        raise
    except Exception as error:  # the libraries raise dozens of kinds
        why = " ".join(str(error).split()) or f"it was not here within {patience:g} s; what came is kept"
        is_known = has_scheme(given) or given.partition("@")[0] in WEIGHTS
        what = given if is_known else f"{given} does not exist here, and"
        raise InputError(f"{what} could not be fetched ({why:.300}): {_by_hand(source)}") from None


def forget(path: str) -> None:
    """Removes an archive that was fetched and cannot be read, so that the next call fetches it again."""
    if os.path.dirname(path) == _cache():
        os.remove(path)


def _near(given: str) -> list[str]:
    """The names of weights that are like a text that is not a path."""
    name = given.partition("@")[0].lower().replace("_", "-")
    return [] if "/" in given else difflib.get_close_matches(name, WEIGHTS, n=3)


def _is_here(given: str) -> bool:
    """Whether there is a file, a folder, or at least a part of a checkpoint."""
    return os.path.exists(given) or any(files_that_begin_with(given, end) for end in (".index", ".data-*"))


def _source_of(given: str) -> str | None:
    """What is fetched for a name, as in the table `WEIGHTS`; None if it is a path."""
    if has_scheme(given):
        return given if _ADDRESS.match(given) else None
    if _is_here(given):
        return None
    name, _, revision = given.partition("@")
    if name in WEIGHTS and not revision:
        return WEIGHTS[name]
    if name in WEIGHTS and not has_scheme(WEIGHTS[name]) and not os.path.isabs(WEIGHTS[name]):
        return f"{WEIGHTS[name].partition('@')[0]}@{revision}"
    on_hub = _ON_HUB.fullmatch(given)
    is_meant = on_hub and not os.path.isdir(on_hub[1]) and not _OF_FILES.search(name)
    return given if is_meant else None


def _by_hand(source: str) -> str:
    """What the user can do without this machine's network."""
    if has_scheme(source):
        return f"download {source} elsewhere, and give the path of the file instead"
    from huggingface_hub import constants

    repository, _, revision = source.partition("@")
    page, archive = f"{constants.ENDPOINT}/{repository}/tree/{revision or 'main'}", ""
    name = repository.rpartition("/")[2]
    if WEIGHTS.get(name, "").partition("@")[0] == repository:
        archive = f", or {_ARCHIVES}/{name.replace('-', '_')}.tar.gz"
    files = "config.json, model.safetensors and spiece.model (or vocab.txt, or tokenizer.json)"
    return f"download {files} into a folder from {page}{archive}; and give its path instead"


def _from_hub(source: str) -> str:
    """The folder of a repository in the cache of `huggingface_hub`, whose own settings hold."""
    from huggingface_hub import HfApi, errors, snapshot_download

    repository, _, revision = source.partition("@")
    problem: Exception | None = None
    try:  # without a network this ends at once, a download after half a minute
        HfApi().model_info(repository, revision=revision or None)
    except errors.RepositoryNotFoundError:
        where = "there is no such repository, or it is private: HF_TOKEN"
        problem = InputError(f"{source} does not exist, and on the hub {where} would open it")
    except errors.RevisionNotFoundError:
        problem = InputError(f"{repository} has no revision {revision}")
    except Exception as error:
        problem = error
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=list(_WANTED),
            ignore_patterns=["*/*"],
            local_files_only=problem is not None,  # what was fetched before
        )
    except errors.LocalEntryNotFoundError as error:
        raise problem or error from None
    here = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = [name for name in here if any(fnmatch.fnmatchcase(name, wanted) for wanted in _WANTED)]
    for name in names:
        _check_blob(os.path.join(folder, name), source)
    if not any(name.endswith(".safetensors") for name in names):
        raise problem or InputError(
            f"{source} has no model.safetensors, and pickles are refused, because they can run any code when "
            f"they are read. A pull request on the hub may have it: {repository}@refs/pr/1"
        )
    return folder


def _check_blob(path: str, source: str) -> None:
    """Raises `InputError` if a file differs from the digest that the hub's cache has as its name."""
    if not os.path.islink(path):
        return
    blob, name = os.path.realpath(path), os.path.basename(os.readlink(path))
    if re.fullmatch("[0-9a-f]{64}", name):
        digest = file_digest(blob)
    elif re.fullmatch("[0-9a-f]{40}", name):
        with open(blob, "rb") as file:
            data = file.read()
        digest = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    else:
        return
    if digest != name:
        os.remove(blob)
        os.remove(path)
        raise InputError(
            f"{os.path.basename(path)} of {source} is damaged: its digest is {digest}, the hub promises "
            f"{name}; it was removed, and the next call fetches it again"
        )


def _cache() -> str:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(folder, "albert_tf")


def _from_address(address: str) -> str:
    """The file in our cache that an archive was, or is now, downloaded to."""
    parts = urllib.parse.urlsplit(address)
    if not re.search(r"\.(tar|tgz|tar\.\w+)$", parts.path) and _COMPRESSED not in parts.query:
        parts = parts._replace(query="&".join(filter(None, (parts.query, _COMPRESSED))))
    name = re.sub(r"[^\w.-]", "_", os.path.basename(parts.path), flags=re.ASCII)[-80:]
    path = os.path.join(_cache(), f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{name}")
    os.makedirs(_cache(), exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not os.path.exists(path):
            _download(parts.geturl(), path)
    return path


def _download(address: str, path: str) -> None:
    """Downloads a file, which appears when it is complete; goes on from what an earlier try has left."""
    import requests

    part, etag_file = f"{path}.part", f"{path}.etag"
    for left in reversed(range(_TRIES)):
        try:
            promised = _fetch_rest(address, part, etag_file)
            break
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if not left:
                raise
            time.sleep(_PAUSE)
    _remove(etag_file)
    if promised:
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
        if base64.b64encode(digest).decode() != promised:
            os.remove(part)
            raise InputError(f"{address} came damaged: its md5 is not what the server promises; try again")
    move_file(part, path)


def _fetch_rest(address: str, part: str, etag_file: str) -> str | None:
    """Fetches what `part` lacks, or all of it if the file has changed or the server cannot go on.

    `etag_file` holds the ETag of what `part` has begun with. Returns the md5 that Google's storage promises.
    """
    import requests

    headers, begin = {"Accept-Encoding": "identity"}, 0
    with contextlib.suppress(FileNotFoundError), open(etag_file, encoding="ascii") as file:
        begin = os.path.getsize(part)
        headers |= {"Range": f"bytes={begin}-", "If-Range": file.read()}
    with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            _remove(etag_file)
            raise requests.ConnectionError("it cannot be continued")  # the next try begins anew
        answer.raise_for_status()
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise InputError(f"{address} is a page, not an archive of weights")
        if answer.status_code != requests.codes.partial_content:
            begin = 0
        size = int(answer.headers.get("Content-Length", 0))
        room = shutil.disk_usage(os.path.dirname(part)).free - _SPARE
        if size > room:
            raise InputError(f"{address}: {os.path.dirname(part)} has no room for its {size:,} bytes")
        _remove(etag_file)
        total, etag = begin + size if size else None, answer.headers.get("ETag", "")
        name, often = os.path.basename(part).removesuffix(".part"), 1 if sys.stderr.isatty() else 10
        bar = tqdm(desc=name, total=total, initial=begin, unit="B", unit_scale=True, mininterval=often)
        with open(part, "ab" if begin else "wb") as file, bar:
            if etag.startswith('"') and etag.isascii():
                write_text(etag_file, etag)
            for data in answer.iter_content(1 << 16):
                file.write(data)
                bar.update(len(data))
                if bar.n - begin > room:
                    raise InputError(f"{address} does not end before the disk is full")
        promised = re.search(r"\bmd5=([\w+/]+=*)", answer.headers.get("x-goog-hash", ""))
    return promised[1] if promised else None


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
