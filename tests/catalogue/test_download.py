"""Every fault of a network or a disk ends in the right file or in one clear error."""

import multiprocessing
import os
import shutil
import subprocess
from dataclasses import replace
from hashlib import sha256

import pytest

from solo_adv import UserError, load_pretrained
from solo_adv.catalogue import download
from solo_adv.catalogue.index import packaged
from solo_adv.zoo import StoredFile, entries, find
from tests.zoo.server import FaultyServer

CONTENT = os.urandom(300_000)
PATH = "models/toy/encoder.safetensors"
NOWHERE = "http://127.0.0.1:9"  # nobody listens on the discard port


def described(content, path=PATH, **more):
    return StoredFile(path=path, size=len(content), sha256=sha256(content).hexdigest(), **more)


@pytest.fixture
def toy(tmp_path):
    """A file in a directory to be served, as its description in an index."""
    path = tmp_path / "served" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return described(CONTENT)


@pytest.fixture
def server(tmp_path, toy, monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    server = FaultyServer(tmp_path / "served")
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def left_behind(cache):
    """All files in the cache except the empty lock files."""
    return [path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts]


def begin(requested):
    return int(requested.removeprefix("bytes=").removesuffix("-"))


def refused(file, *urls, match):
    with pytest.raises(UserError, match=match) as caught:
        download.locate(file, urls)
    assert "\n" not in str(caught.value)


def test_a_file_is_downloaded_once_and_then_cached(server, toy, cache):
    path = download.locate(toy, [server.url])
    assert path.read_bytes() == CONTENT
    assert left_behind(cache) == [path]
    assert path.stat().st_mode & 0o777 == 0o644
    assert download.locate(toy, [server.url]) == path
    assert len(server.requests) == 1


def test_an_interrupted_transfer_continues_where_it_broke_off(server, toy):
    server.faults = ["break", "break"]
    assert download.locate(toy, [server.url]).read_bytes() == CONTENT
    first, second, third = (requested for _, requested, _ in server.requests)
    assert first is None
    assert 0 < begin(second) <= 150_000  # the whole chunks that arrived are kept
    assert begin(second) < begin(third) < len(CONTENT)


def test_what_a_killed_process_received_is_continued(server, toy, cache):
    cache.mkdir()
    part = download.cached_path(toy).with_name(download.cached_path(toy).name + ".part")
    part.write_bytes(CONTENT[:100_000])
    assert download.locate(toy, [server.url]).read_bytes() == CONTENT
    assert server.requests == [(f"/{PATH}", "bytes=100000-", 200_000)]
    assert len(left_behind(cache)) == 1


def test_a_wrong_piece_of_an_earlier_transfer_is_thrown_away(server, toy, cache):
    cache.mkdir()
    part = download.cached_path(toy).with_name(download.cached_path(toy).name + ".part")
    part.write_bytes(b"x" * 100_000)
    assert download.locate(toy, [server.url]).read_bytes() == CONTENT
    assert [requested for _, requested, _ in server.requests] == ["bytes=100000-", None]


@pytest.mark.parametrize("fault", ["no range", "other range"])
def test_a_server_that_ignores_the_range(server, toy, fault):
    server.faults = ["break", fault]
    if fault == "no range":
        assert download.locate(toy, [server.url]).read_bytes() == CONTENT
    else:
        refused(toy, server.url, match="other bytes than those asked for")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("corrupt", r"other contents \(wrong sha256\)"),
        ("truncate", "150,000 bytes there instead of 300,000"),
        ("lengthen", "300,004 bytes or more there instead of 300,000"),
        ("404", "answers 404 Not Found"),
    ],
)
def test_a_wrong_file_is_refused_and_the_mirror_asked(server, toy, cache, fault, words):
    server.faults = [fault]
    refused(toy, server.url, match=words)
    assert left_behind(cache) == []
    server.faults = [fault]
    assert download.locate(toy, [server.url, f"{server.url}/"]).read_bytes() == CONTENT


def test_a_wrong_hash_in_the_index_is_refused_by_every_mirror(server, toy, cache):
    wrong = replace(toy, sha256="0" * 64)
    refused(wrong, server.url, f"{server.url}/.", match=r"wrong sha256\).*wrong sha256")
    assert left_behind(cache) == []


def test_a_busy_server_is_asked_again(server, toy):
    server.faults = ["503", "503", "503"]
    assert download.locate(toy, [server.url]).read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_a_server_that_stays_busy_is_given_up(server, toy, cache):
    server.faults = ["503"] * 50
    refused(toy, server.url, match="answers 503")
    assert len(server.requests) == download.ATTEMPTS
    assert left_behind(cache) == []


def test_a_transfer_that_always_breaks_is_kept_for_the_next_time(server, toy, cache):
    server.faults = ["break"] * download.ATTEMPTS
    refused(toy, server.url, match="breaks off.*run again")
    (part,) = left_behind(cache)
    assert part.suffix == ".part"
    assert CONTENT.startswith(part.read_bytes())
    assert download.locate(toy, [server.url]).read_bytes() == CONTENT


def test_without_net_one_line_says_so(server, toy, cache):
    refused(toy, NOWHERE, match="cannot be reached.*Check the network")
    assert left_behind(cache) == []
    assert download.locate(toy, [NOWHERE, server.url]).read_bytes() == CONTENT


def test_offline_uses_what_is_there_and_asks_nobody(server, toy, monkeypatch):
    monkeypatch.setenv("SOLO_ADV_OFFLINE", "1")
    refused(toy, server.url, match="SOLO_ADV_OFFLINE forbids the net")
    monkeypatch.setenv("SOLO_ADV_OFFLINE", "0")
    path = download.locate(toy, [server.url])
    monkeypatch.setenv("SOLO_ADV_OFFLINE", "1")
    assert download.locate(toy, [server.url]) == path
    assert len(server.requests) == 1


def test_a_damaged_cache_is_repaired(server, toy):
    path = download.locate(toy, [server.url])
    path.write_bytes(b"x" * len(CONTENT))
    assert download.locate(toy, [server.url]).read_bytes() == CONTENT


def test_the_users_host_comes_first_and_a_directory_is_no_download(
    server, toy, tmp_path, monkeypatch
):
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", server.url + "/")
    assert download.locate(toy, [NOWHERE]).read_bytes() == CONTENT
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "served"))
    assert download.locate(toy) == tmp_path / "served" / PATH


def test_two_processes_download_once(server, toy, cache):
    server.faults = ["503"]  # makes the first one wait while the second arrives
    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=download.locate, args=(toy, [server.url])) for _ in range(2)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0, 0]
    assert download.cached_path(toy).read_bytes() == CONTENT
    assert len([sent for *_, sent in server.requests if sent]) == 1
    assert len(left_behind(cache)) == 1


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A function that mounts a file system as the cache, which only root can do."""
    mounted = []

    def mount(options):
        directory = tmp_path / "disk"
        directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("mounting a small tmpfs needs root on Linux")
        mounted.append(directory)
        monkeypatch.setenv("SOLO_ADV_CACHE", str(directory))
        return directory

    yield mount
    for directory in mounted:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_leaves_nothing(server, toy, small_disk):
    disk = small_disk("size=128k")
    refused(toy, server.url, match=r"No space left.*SOLO_ADV_CACHE=DIR")
    assert left_behind(disk) == []


def test_a_read_only_cache_serves_what_it_holds(server, toy, small_disk):
    disk = small_disk("size=4m")
    path = download.locate(toy, [server.url])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert download.locate(toy, [server.url]) == path
    other = replace(toy, sha256="1" * 64)
    refused(other, server.url, match=r"Read-only.*SOLO_ADV_CACHE=DIR")


def test_a_cache_that_cannot_be_made(server, toy, cache):
    cache.write_text("a file")
    refused(toy, server.url, match=r"Cannot write into the cache.*SOLO_ADV_CACHE=DIR")


def split(served, count=4):
    step = len(CONTENT) // count
    pieces = [CONTENT[i * step : (i + 1) * step] for i in range(count)]
    parts = []
    for number, piece in enumerate(pieces):
        (served / f"{PATH}.part{number}").write_bytes(piece)
        parts.append(described(piece, f"{PATH}.part{number}"))
    (served / PATH).unlink()
    return described(CONTENT, parts=tuple(parts))


def test_a_split_file_is_joined_and_its_parts_deleted(server, toy, tmp_path, cache):
    whole = split(tmp_path / "served")
    server.faults = ["", "break"]
    path = download.locate(whole, [server.url])
    assert path.read_bytes() == CONTENT
    assert left_behind(cache) == [path]
    assert len(server.requests) == 5


def test_parts_in_the_wrong_order_are_refused(server, toy, tmp_path, cache):
    whole = split(tmp_path / "served")
    wrong = replace(whole, parts=whole.parts[::-1])
    refused(wrong, server.url, match="parts of .* do not make the file")
    assert not download.cached_path(wrong).exists()


def test_a_hosted_zoo_is_listed_loaded_and_remembered_offline(published, monkeypatch):
    server = FaultyServer(published.directory)
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", server.url)
    assert find(published.name) == published.entry
    load_pretrained(published.name, head="linear")
    server.close()
    monkeypatch.setenv("SOLO_ADV_OFFLINE", "1")
    load_pretrained(published.name, head="linear")
    monkeypatch.delenv("SOLO_ADV_OFFLINE")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    with pytest.raises(UserError, match=r"Cannot read the zoo's index.*SOLO_ADV_OFFLINE=1"):
        entries()


def test_a_mirror_without_index_serves_known_models(server, toy, monkeypatch):
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", server.url)
    assert entries() == packaged()
