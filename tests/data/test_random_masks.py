"""Random holes: what they cover, and that they belong to an example's place in the stream."""

import numpy as np

from score_jax.data.loader import make_loader
from score_jax.data.random_masks import random_boxes
from score_jax.data.rows import ArrayRows
from score_jax.data.sources import Source


def test_boxes_leave_something_and_take_something():
    shares = []
    for seed in range(200):
        mask = random_boxes(np.random.default_rng(seed), 16, 12)
        assert mask.shape == (16, 12, 1) and set(np.unique(mask)) <= {0, 1}
        shares.append(mask.mean())
    assert min(shares) > 0.03 and max(shares) < 0.95 and 0.2 < np.mean(shares) < 0.5


def batches(**options):
    source = Source("images", ArrayRows(np.zeros((8, 16, 16, 1), np.uint8)), lambda image, name: image)
    loader = make_loader(source, batch_size=4, seed=3, flip=False, process_index=0, process_count=1, **options)
    return [next(loader) for _ in range(3)]


def test_the_loader_adds_them():
    first, second = batches(holes=True), batches(holes=True)
    for one, other in zip(first, second, strict=True):
        assert one["mask"].shape == (4, 16, 16, 1)
        np.testing.assert_array_equal(one["mask"], other["mask"])
    assert not np.array_equal(first[0]["mask"], first[2]["mask"]) and "mask" not in batches()[0]
