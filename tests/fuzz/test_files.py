"""Damaged files are refused by name; none crashes the program or loads other weights."""

import io
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from solo_adv.catalogue.index import INDEX_FILE, read_index
from solo_adv.catalogue.places import PACKAGED
from solo_adv.data import DataConfig, load_split
from solo_adv.data.decoding import decode
from solo_adv.data.sources import FileSources
from solo_adv.encoders.encoder import Encoder
from solo_adv.pretrained import load_pretrained
from solo_adv.support.errors import UserError
from solo_adv.support.files import digest_path, write_checked

CONFIG = {
    "method": "cfamc",
    "data": {"dataset": "digits"},
    "crops": {"size": 8},
    "backbone": {"name": "resnet18", "kwargs": {"width": 2, "layers": [1, 1, 1, 1]}},
    "method_kwargs": {"proj_hidden_dim": 8, "proj_output_dim": 4},
}
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


def _encoded(form):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


IMAGES = {form: _encoded(form) for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint: its path, its bytes, those of its checksum file, and the encoder's weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    torch.manual_seed(0)
    weights = Encoder(CONFIG, "hidden").state_dict()
    whole = {"state_dict": weights, "solo_adv": {"config": CONFIG, "crop_passes": 1}}
    write_checked(path, lambda out: torch.save(whole, out))
    return path, path.read_bytes(), digest_path(path).read_bytes(), weights


@given(
    damages=st.lists(DAMAGES, min_size=1, max_size=3),
    harmed=st.sampled_from(["file", "file without checksum", "checksum"]),
)
def test_checkpoints(checkpoint, outcomes, damages, harmed):
    path, whole, digest, weights = checkpoint
    path.write_bytes(whole if harmed == "checksum" else damage(whole, damages))
    digest_path(path).write_bytes(damage(digest, damages) if harmed == "checksum" else digest)
    if harmed == "file without checksum":
        digest_path(path).unlink()
    try:
        loaded = load_pretrained(path).state_dict()
    except UserError as error:
        outcomes["checkpoints: refused"] += str(path) in str(error)
        assert str(path) in str(error)  # noqa: PT017  (or it loads the very weights)
    else:  # only padding or the name in the checksum file was hit, or the byte stayed the same
        assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())
        assert harmed != "file" or path.read_bytes() == whole
        outcomes["checkpoints: not harmed"] += 1


@given(damages=st.lists(DAMAGES, min_size=1, max_size=4))
def test_indexes(tmp_path_factory, outcomes, damages):
    path = tmp_path_factory.getbasetemp() / "index.json"
    whole = (PACKAGED / INDEX_FILE).read_bytes()
    path.write_bytes(damage(whole, damages))
    try:
        found = read_index(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017  (or each entry is one that the schema takes)
        outcomes["indexes: refused"] += 1
    else:
        assert all(name == entry.name for name, entry in found.items())
        outcomes["indexes: read"] += 1


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "train-0.parquet"
    pq.write_table(pa.table({"image": [IMAGES["PNG"]] * 5, "label": list(range(5))}), path)
    return path, path.read_bytes()


@given(damages=st.lists(DAMAGES, min_size=1, max_size=4))
def test_parquet(parquet, outcomes, damages):
    path, whole = parquet
    path.write_bytes(damage(whole, damages))
    config = DataConfig(
        dataset="custom", format="parquet", train_path=str(path), image_size=8, resident=True
    )
    try:
        found = load_split(config, "train")
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017  (or it is decoded, if to other pixels)
        outcomes["parquet: refused"] += 1
    else:
        assert found.images.shape[1:] == (3, 8, 8)
        assert found.labels.min() >= -1
        outcomes["parquet: read"] += 1


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
