"""Download files; verify size and SHA-256 before they get their name."""

from __future__ import annotations

import http.client
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from unlearning.data.catalogue import ChecksumError, DataError, FileInfo
from unlearning.files import sha256_file, whole

AGENT = {"User-Agent": "unlearning"}

log = logging.getLogger(__name__)


class DownloadError(DataError):
    """A file is not here and could not be downloaded."""


def expanded(path: str | Path) -> Path:
    """A path that a config names, with `~` and $VARIABLES expanded."""
    return Path(os.path.expandvars(os.path.expanduser(path)))


def verify(path: str | Path, file: FileInfo, advice: str = "Replace it.") -> str:
    """The checksum of the file at `path`, which is one that the catalogue knows.

    Raises ChecksumError that names the file, what was expected and found, and `advice`.
    """
    known = ((file.checksum, file.bytes), *file.also)
    size = Path(path).stat().st_size
    if size not in [expected for _, expected in known]:
        raise ChecksumError(f"{path}: expected {file.bytes} bytes, found {size}. {advice}")
    found = f"sha256:{sha256_file(path)}"
    if (found, size) not in known:
        raise ChecksumError(f"{path}: expected {file.checksum}, found {found}. {advice}")
    return found


# Not torchvision's download_url: it asks twice for each file, falls back from https to http
# after any error, has no timeout, and takes a connection cut short for the end of the file.
def download(
    file: FileInfo, target: Path, by_hand: str, retries: int = 4, backoff: float = 2.0
) -> str:
    """Download to `target`, which appears only if it is verified; give its checksum.

    by_hand: a sentence on what to do without the network, the end of an error. It is tried
    `retries` more times after a server error (5xx, 429) or a broken connection, first after
    `backoff` seconds, then after twice as long each time.

    Raises DownloadError, ChecksumError.
    """
    if not file.url:
        raise DownloadError(f"{file.file} has no address to download from. {by_hand}")
    advice = (
        f"It came from {file.url} and was deleted: run again to download it afresh. If that "
        f"does not help, the publisher or a proxy has changed it. {by_hand}"
    )
    for attempt in range(retries + 1):
        try:
            with whole(target) as temporary:
                log.info("downloading %s (%.1f MB)", file.url, file.bytes / 1e6)
                _stream(file, temporary)
                return verify(temporary, file, advice)
        except (urllib.error.URLError, http.client.HTTPException, *_BROKEN) as error:
            if not _passing(error):
                raise DownloadError(f"{file.url}: {error}. {by_hand}") from error
            if attempt == retries:
                message = f"{file.url}: {error}, after {retries + 1} tries. Try later. {by_hand}"
                raise DownloadError(message) from error
            log.warning("%s: %s; trying again", file.url, error)
            time.sleep(backoff * 2**attempt)
    raise ValueError(f"retries must be 0 or more, not {retries}")


def silent(url: str, seconds: float = 10) -> str | None:
    """Why nothing answers at an address; None if a server does, whatever it says."""
    request = urllib.request.Request(url, headers=AGENT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError:
        return None
    except (urllib.error.URLError, http.client.HTTPException, *_BROKEN) as error:
        return str(getattr(error, "reason", error))
    return None


_BROKEN = (ConnectionError, TimeoutError, ssl.SSLError)


def _passing(error: Exception) -> bool:
    """Whether a second try may succeed where `error` stopped the first."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    return not isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)


def _stream(file: FileInfo, target: Path) -> None:
    # One byte more than the longest known copy is enough to see that the file is wrong.
    limit = max(file.bytes, *(size for _, size in file.also), 0) + 1
    request = urllib.request.Request(file.url, headers=AGENT)
    with urllib.request.urlopen(request, timeout=60) as response, open(target, "wb") as handle:
        promised = response.length
        while chunk := response.read(min(2**20, limit - handle.tell())):
            handle.write(chunk)
        if promised is not None and handle.tell() < min(promised, limit):
            raise ConnectionError(f"the connection ended after {handle.tell()} of {promised} bytes")
