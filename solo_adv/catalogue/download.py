"""Downloads files of the zoo: a file arrives whole and unaltered, or one clear error is raised.

For plain hosts pooch does the caching (temporary file, sha256, atomic move). This module adds
several mirrors, resuming, exponential backoff, and a lock so that only one process downloads a
file. For the Hugging Face hub, huggingface_hub does all of this.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pooch
import requests
from filelock import FileLock

from solo_adv.catalogue import hub, places
from solo_adv.catalogue.entry import StoredFile
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.hashes import sha256, sha256_of_file
from solo_adv.support.progress import track

T = TypeVar("T")
ATTEMPTS = 5
"""Attempts for each mirror, including those that continue an interrupted transfer."""
BACKOFF_SECONDS = 0.5
"""Wait after a mirror's first failure; doubled after each further one."""
TIMEOUT_SECONDS = 30
CHUNK = 1 << 16
_BUSY = (429, 500, 502, 503, 504)
pooch.get_logger().setLevel("WARNING")  # track() already shows what is being downloaded


def locate(file: StoredFile, base_urls: Sequence[str] = ()) -> Path:
    """The path of an intact copy of a file, which is downloaded if there is none.

    The file is searched for in the package, the directories of ``SOLO_ADV_ZOO_URL`` and the cache,
    then on the hosts of ``SOLO_ADV_ZOO_URL``, on ``base_urls`` and at the file's own addresses.

    Args:
        file: The file to locate.
        base_urls: Mirrors that hold it at ``file.path``.

    Raises:
        UserError: There is no copy and it cannot be downloaded; the message gives each mirror's
            reason. The received part of an interrupted transfer is kept and continued next time;
            any other failure leaves no file behind.
    """
    found = present(file) or _from_hub(file, [*places.hosts(), *base_urls])
    if found is not None:
        return found
    target = cached_path(file)
    with _only_one_process(target):
        found = present(file)  # another process may have been faster
        if found is None:
            found = _join(file, base_urls) if file.parts else _download(file, base_urls)
    return found


def present(file: StoredFile) -> Path | None:
    """The path of an intact copy on this machine, if there is one."""
    candidates = [directory / file.path for directory in places.directories()]
    for path in [*candidates, cached_path(file)]:
        if _intact(path, file):
            return path
    return None


def _from_hub(file: StoredFile, hosts: Sequence[str]) -> Path | None:
    """An intact copy in the hub's own cache; None if no host is a repository of the hub.

    Raises:
        UserError: no repository among the hosts has the file.
    """
    reasons = []
    for host in filter(places.is_on_hub, hosts):
        try:
            path = hub.fetch(host, file.path)
        except UserError as error:
            reasons.append(str(error))
            continue
        if _intact(path, file):
            return path
        reasons.append(f"{file.path} of {host} has other contents (wrong sha256).")
    if reasons and not any(map(places.is_url, hosts)):
        raise UserError(" ".join(reasons))
    return None


def cached_path(file: StoredFile) -> Path:
    """A file's path in the cache; its hash is in the name, so that zoos do not collide."""
    return places.cache() / f"{file.sha256[:16]}-{Path(file.path).name}"


def fetch_index(url: str) -> str | None:
    """The text of a remote index, or of its cached copy when offline; None if there is none.

    Raises:
        UserError: The host cannot be reached.
    """
    copy = places.cache() / f"index-{sha256([url.encode()])[:16]}.json"
    if places.offline():
        return copy.read_text(encoding="utf-8", errors="replace") if copy.exists() else None
    try:
        content = _patiently(lambda: _content_of(url))
        if content is None:
            return None
        text = content.decode("utf-8")
    except (requests.RequestException, UnicodeDecodeError) as error:
        raise UserError(
            f"Cannot read the zoo's index: {reason(error, url)}. Check {places.URL_VARIABLE}, or "
            f"set {places.OFFLINE_VARIABLE}=1 to use only what is on this machine."
        ) from error
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_whole(copy, text.encode())
    except OSError:
        pass  # without a cache only offline use is lost
    return text


def _content_of(url: str) -> bytes | None:
    """What lies at an address; None if nothing does."""
    response = requests.get(url, timeout=TIMEOUT_SECONDS)
    if response.status_code == 404:
        return None
    response.raise_for_status()
    return response.content


def _download(file: StoredFile, base_urls: Sequence[str]) -> Path:
    bases = filter(places.is_url, [*places.hosts(), *base_urls])
    urls = [*(f"{base}/{file.path}" for base in bases), *file.urls]
    what = f"'{file.path}' ({file.size / 1e6:.1f} MB)"
    if not urls:
        raise UserError(
            f"No address is known for {what}. Name a zoo that has it: {places.URL_VARIABLE}=URL."
        )
    if places.offline():
        raise UserError(
            f"{what} is not on this machine, and {places.OFFLINE_VARIABLE} forbids the net. Unset "
            f"it, or put the file at '{cached_path(file)}'."
        )
    reasons = []
    with requests.Session() as session:
        for url in urls:
            transfer = _Transfer(session, file)
            try:
                return _retrieve(url, file, transfer)
            except (requests.RequestException, ValueError) as error:
                reasons.append(reason(error, url))
                if transfer.continued and isinstance(error, ValueError):
                    # The piece of the earlier transfer may have been wrong; it is deleted now.
                    try:
                        return _retrieve(url, file, transfer)
                    except (requests.RequestException, ValueError) as again:
                        reasons[-1] = reason(again, url)
            except OSError as error:
                transfer.part.unlink(missing_ok=True)
                raise _cannot_write(error) from error
    raise UserError(
        f"Cannot download {what}: {'; '.join(dict.fromkeys(reasons))}. Check the network and run "
        f"again, or name a mirror with {places.URL_VARIABLE}=URL."
    )


def _retrieve(url: str, file: StoredFile, transfer: "_Transfer") -> Path:
    target = cached_path(file)
    path = pooch.retrieve(
        url,
        known_hash=f"sha256:{file.sha256}",
        fname=target.name,
        path=target.parent,
        downloader=transfer,
    )
    os.chmod(path, 0o644)  # pooch's temporary file is private, but a cache may be shared
    return Path(path)


class _Transfer:
    """A downloader for pooch that continues the piece kept beside the target."""

    def __init__(self, session: requests.Session, file: StoredFile) -> None:
        self.session = session
        self.file = file
        target = cached_path(file)
        self.part = target.with_name(f"{target.name}.part")
        self.continued = False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        self.continued = self.part.exists()
        _patiently(lambda: self._receive(url))
        os.replace(self.part, output_file)

    def _receive(self, url: str) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        if have >= self.file.size:
            return
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        with self.session.get(
            url, headers=headers if have else {}, stream=True, timeout=TIMEOUT_SECONDS
        ) as response:
            if response.status_code == 416:  # the remote file is shorter than the local piece
                self.part.unlink()
                raise ValueError("it has another size there")
            response.raise_for_status()
            start = have if response.status_code == 206 else 0
            if start and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self.part.unlink()
                raise ValueError("it sends other bytes than those asked for")
            self._write(response, start)
        size = self.part.stat().st_size
        if size != self.file.size:
            self.part.unlink()
            more = " or more" if size > self.file.size else ""
            raise ValueError(f"it has {size:,} bytes{more} there instead of {self.file.size:,}")

    def _write(self, response: requests.Response, start: int) -> None:
        left = math.ceil((self.file.size - start) / CHUNK)
        with open(self.part, "r+b" if start else "wb") as part:
            part.seek(start)
            name = Path(self.file.path).name
            for chunk in track(response.iter_content(CHUNK), f"Downloading {name}", left):
                part.write(chunk)
                if part.tell() > self.file.size:
                    return


def _patiently(attempt: Callable[[], T]) -> T:
    """Call ``attempt`` up to ``ATTEMPTS`` times, with longer and longer pauses."""
    for number in range(ATTEMPTS - 1):
        try:
            return attempt()
        except requests.RequestException as error:
            if not _passes_by_itself(error):
                raise
        time.sleep(BACKOFF_SECONDS * 2**number)
    return attempt()


def _passes_by_itself(error: requests.RequestException) -> bool:
    """Whether the next attempt may succeed: the host was busy, or the transfer broke."""
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    busy = error.response is not None and error.response.status_code in _BUSY
    return busy or isinstance(error, broken)


def reason(error: Exception, url: str) -> str:
    """Describe a mirror's failure in a few words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{url} answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"{url} does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{url} breaks off"
    if isinstance(error, requests.ConnectionError):
        return f"{url} cannot be reached"
    if "hash" in str(error):
        return f"{url} has other contents (wrong sha256)"
    return f"{url}: {error}"


def _join(file: StoredFile, base_urls: Sequence[str]) -> Path:
    """Join the parts of a split file in the cache and delete the downloaded parts."""
    parts = [locate(part, base_urls) for part in file.parts]
    target = cached_path(file)
    try:
        whole = b"".join(part.read_bytes() for part in parts)
        if sha256([whole]) != file.sha256:
            raise UserError(
                f"The parts of '{file.path}' do not make the file that the index describes "
                "(wrong sha256): whoever published it must do so again."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, whole)
        os.chmod(target, 0o644)  # a cache may be shared
    except OSError as error:
        raise _cannot_write(error) from error
    for joined in file.parts:
        cached_path(joined).unlink(missing_ok=True)
    return target


def _only_one_process(target: Path) -> FileLock:
    locks = target.parent / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        (locks / target.name).touch()
    except OSError as error:
        raise _cannot_write(error) from error
    return FileLock(locks / target.name)


def _cannot_write(error: OSError) -> UserError:
    return UserError(
        f"Cannot write into the cache '{places.cache()}' ({error.strerror or error}). Make room "
        f"there, or choose another directory with {places.CACHE_VARIABLE}=DIR."
    )


def _intact(path: Path, file: StoredFile) -> bool:
    try:
        return path.stat().st_size == file.size and sha256_of_file(path) == file.sha256
    except OSError:
        return False
