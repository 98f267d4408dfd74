"""Crops and sizes that fit the pictures of some records."""

import pytest

from kseg.data import seen_size


@pytest.mark.parametrize(
    "sizes, crop, seen",
    [
        ([(360, 480)] * 3, [256, 320], [0, 0]),  # CamVid: the crops of configs/camvid_lite0.py
        ([(1024, 2048)], [352, 704], [512, 1024]),  # Cityscapes: at half its size
        ([(64, 128)], [32, 96], [0, 0]),
        ([(20, 20)], [32, 32], [0, 0]),  # never below the network's stride
        ([(3000, 4000), (4000, 3000)], [1024, 1024], [0, 0]),  # of mixed sizes: as they are, crops bounded
    ],
)
def test_crops_follow_the_pictures(sizes, crop, seen):
    found = seen_size.seen_at(sizes, 512 * 1024)
    assert (found["crop_size"], found["input_size"]) == (crop, seen)
    assert found["scale"] == pytest.approx(seen[0] / sizes[0][0] if seen[0] else 1.0, abs=1e-3)
