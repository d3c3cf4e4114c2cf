"""Damaged files are refused by name: none crashes, none loads other weights."""

import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from solo_adv.checkpoint import read_checkpoint
from solo_adv.data.decoding import decode
from solo_adv.data.sources import FileSources
from solo_adv.errors import UserError
from solo_adv.integrity import digest_path, write_whole

WEIGHTS = torch.arange(2000.0)
DAMAGES = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True), st.just(0)),
    st.tuples(st.just("bit"), st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
    st.tuples(st.just("byte"), st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
)


def damage(contents, damages):
    contents = bytearray(contents)
    for kind, where, what in damages:
        place = int(where * len(contents))
        if not contents:
            break
        if kind == "cut":
            del contents[place:]
        elif kind == "bit":
            contents[place] ^= 1 << what
        else:
            contents[place] = what
    return bytes(contents)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    write_whole(path, lambda out: torch.save({"state_dict": {"w": WEIGHTS}}, out))
    return path, path.read_bytes(), digest_path(path).read_bytes()


@given(damages=st.lists(DAMAGES, min_size=1, max_size=3), with_digest=st.booleans())
def test_checkpoints(checkpoint, outcomes, damages, with_digest):
    path, whole, digest = checkpoint
    path.write_bytes(damage(whole, damages))
    digest_path(path).write_bytes(digest)
    if not with_digest:
        digest_path(path).unlink()
    try:
        loaded = read_checkpoint(path)["state_dict"]
    except UserError as error:
        outcomes["checkpoints: refused"] += str(path) in str(error)
        assert str(path) in str(error)  # noqa: PT017  (or it loads the very weights)
    else:  # padding, or the byte that was there
        assert torch.equal(loaded["w"], WEIGHTS)
        assert not with_digest or path.read_bytes() == whole
        outcomes["checkpoints: not harmed"] += 1


def _encoded(form):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


IMAGES = {form: _encoded(form) for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")}


@given(damages=st.lists(DAMAGES, min_size=1, max_size=4), form=st.sampled_from(sorted(IMAGES)))
def test_images(tmp_path_factory, outcomes, damages, form):
    path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(damage(IMAGES[form], damages))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = decode(FileSources([path]), 0, 8)
    except UserError as error:
        outcomes["images: refused"] += str(path) in str(error)
        assert str(path) in str(error)  # noqa: PT017  (or it is decoded, if to other pixels)
    else:
        assert image.shape == (8, 8, 3)
        assert image.dtype == np.uint8
        outcomes["images: decoded"] += 1
