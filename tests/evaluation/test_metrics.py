import numpy as np
import pytest
from sklearn.datasets import load_digits

from score_jax.errors import InputError
from score_jax.evaluation import digit_features
from score_jax.evaluation.features import FeatureExtractor, extract, image_batches
from score_jax.evaluation.frechet import bootstrap_standard_error, frechet_distance
from score_jax.evaluation.kernel_distance import cubic_kernel, kernel_distance, squared_mmd
from score_jax.evaluation.neighbours import nearest_neighbours
from score_jax.evaluation.statistics import Moments, moments

RNG = np.random.default_rng(0)


def gaussian(mean, covariance):
    return Moments(2, np.asarray(mean, float), np.asarray(covariance, float))


def test_frechet_of_commuting_gaussians():
    a, b = gaussian([1.0, 2.0], np.diag([4.0, 9.0])), gaussian([0.0, 0.0], np.diag([1.0, 16.0]))
    assert frechet_distance(generated=a, real=b) == pytest.approx(5 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_frechet_of_correlated_gaussians_equals_the_general_root():
    from scipy.linalg import sqrtm

    roots = RNG.normal(size=(2, 6, 6))
    (m1, s1), (m2, s2) = ((RNG.normal(size=6), root @ root.T) for root in roots)
    expected = np.sum((m1 - m2) ** 2) + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert frechet_distance(generated=gaussian(m1, s1), real=gaussian(m2, s2)) == pytest.approx(expected)


def test_frechet_survives_fewer_images_than_features():
    features = RNG.normal(size=(10, 50))
    few, many = moments(features), moments(RNG.normal(size=(500, 50)))
    assert abs(frechet_distance(generated=few, real=few)) < 1e-5
    assert 0 < frechet_distance(generated=few, real=many) < 200


def test_moments_keep_their_digits_far_from_zero():
    features = 1e6 + RNG.normal(size=(301, 5))
    np.testing.assert_allclose(moments(features).covariance, np.cov(features - 1e6, rowvar=False), rtol=1e-7)


def test_bootstrap_error_is_the_spread_of_fresh_draws():
    real = moments(RNG.normal(size=(5000, 4)))
    draws = [RNG.normal(size=(200, 4)) + 0.3 for _ in range(40)]
    spread = np.std([frechet_distance(generated=moments(d), real=real) for d in draws], ddof=1)
    estimate = np.mean([bootstrap_standard_error(d, real) for d in draws[:5]])
    assert 0.5 < estimate / spread < 2


def test_squared_mmd_is_unbiased_and_sees_a_shift():
    same = [squared_mmd(RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20
    assert squared_mmd(RNG.normal(size=(40, 3)) + 1, RNG.normal(size=(40, 3))) > 10 * np.std(same)


def test_squared_mmd_is_the_double_sum():
    x, y = RNG.normal(size=(4, 2)), RNG.normal(size=(3, 2))
    kernel = lambda a, b: (a @ b / 2 + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(3) for j in range(3) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert squared_mmd(x, y) == pytest.approx(xx + yy - 2 * xy)
    assert cubic_kernel(x, y)[1, 2] == pytest.approx(kernel(x[1], y[2]))


def test_kernel_distance_of_equal_laws_is_near_zero():
    mean, spread = kernel_distance(generated=RNG.normal(size=(300, 3)), real=RNG.normal(size=(300, 3)), subsets=30)
    assert abs(mean) < 3 * spread and spread > 0


def test_padding_is_never_counted():
    images = RNG.integers(0, 256, (11, 4, 4, 1), dtype=np.uint8)
    extractor = FeatureExtractor("pixels", lambda x: x.reshape(x.shape[0], -1).astype(np.float32))
    features = extract(extractor, image_batches(images, 4))
    np.testing.assert_array_equal(features, images.reshape(11, -1))


def test_nearest_neighbour_is_found_in_any_chunk():
    training = RNG.integers(0, 256, (2500, 3, 3, 1), dtype=np.uint8)
    where = np.array([0, 1500, 2499])
    noisy = np.clip(training[where].astype(int) + RNG.integers(-2, 3, (3, 3, 3, 1)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(nearest_neighbours(noisy, training), where)


def test_classifier_learns_and_survives_the_disk(tmp_path):
    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int32)
    classifier = digit_features.train_classifier(images[:1500], labels[:1500], steps=300)
    predicted = digit_features.predict_classes(classifier, images[1500:])
    assert (predicted == labels[1500:]).mean() > 0.85
    digit_features.save_classifier(tmp_path / "c.npz", classifier)
    loaded = digit_features.load_classifier(tmp_path / "c.npz")
    np.testing.assert_array_equal(digit_features.predict_classes(loaded, images[1500:]), predicted)
    features = extract(loaded.features(), image_batches(images[:40], 16))
    assert features.shape == (40, 64)


def test_one_class_is_no_classifier():
    with pytest.raises(InputError, match="labels of at least two classes"):
        digit_features.train_classifier(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32))


def test_a_damaged_classifier_is_said(tmp_path):
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(InputError, match="no saved digit classifier"):
        digit_features.load_classifier(tmp_path / "c.npz")
