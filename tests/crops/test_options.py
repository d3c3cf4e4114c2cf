import pytest

from solo_adv.crops import CropOptions, CropSpec, build, read_crops
from solo_adv.support.errors import UserError


def test_a_crops_group_is_read_as_spec_and_options():
    spec, options = read_crops({"num_crops": 3, "chunk": 64, "compile": True, "source": "loader"})
    assert spec == CropSpec(num_crops=3)
    assert options == CropOptions(chunk=64, compile=True, source="loader")
    assert read_crops({}) == (CropSpec(), CropOptions())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backend": "torhc"}, "Did you mean 'torch'"),
        ({"source": "device0"}, "Did you mean 'device'"),
        ({"chunk": 0}, "crops.chunk must be a whole number of at least 1"),
        ({"chunk": 2.5}, "crops.chunk"),
        ({"compile": 1}, "crops.compile must be true or false"),
        ({"backend": "torchvision", "chunk": 8}, "crop by crop"),
        ({"backend": "torchvision", "compile": True}, "crop by crop"),
        ({"chunks": 8}, "Did you mean 'chunk'"),
        ({"sclae": [0.1, 1]}, "Did you mean 'scale'"),
    ],
)
def test_bad_value_is_refused_in_one_line(settings, words):
    with pytest.raises(UserError, match=words) as error:
        read_crops(settings)
    assert "\n" not in str(error.value)


def test_build_refuses_options_that_the_backend_does_not_have():
    with pytest.raises(UserError, match="crop by crop"):
        build(CropSpec(), "torchvision", chunk=4)
