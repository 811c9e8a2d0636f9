"""Dead leaves: repeatable, and with the statistics of natural images."""

import numpy as np

from pipeline.dead_leaves import dead_leaves


def test_a_picture_is_a_function_of_its_generator() -> None:
    one, same, other = (dead_leaves(64, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.shape == (64, 64, 3)
    assert (one == same).all()
    assert (one != other).any()


def spectrum_slope(pictures: list[np.ndarray]) -> float:
    """Slope of log power over log frequency, from a fit between 4 cycles a picture and half of Nyquist."""
    size = len(pictures[0])
    y, x = np.meshgrid(*[np.fft.fftfreq(size) * size] * 2)
    radius = np.hypot(x, y)
    power = sum(np.abs(np.fft.fft2(picture.mean(-1) - picture.mean())) ** 2 for picture in pictures)
    bands = [(radius >= low) & (radius < 1.3 * low) for low in 4 * 1.3 ** np.arange(8)]
    frequencies = [radius[band].mean() for band in bands]
    return float(np.polyfit(np.log(frequencies), np.log([power[band].mean() for band in bands]), 1)[0])


def test_spectrum_and_gradients_are_those_of_natural_images() -> None:
    """Photographs have power near 1/f^2 and gradients far heavier-tailed than a Gaussian's (kurtosis 3)."""
    pictures = [dead_leaves(128, np.random.default_rng(seed)) for seed in range(8)]
    assert -3.2 < spectrum_slope(pictures) < -1.2
    gradients = np.concatenate([np.diff(picture.mean(-1), axis=0).ravel() for picture in pictures])
    assert (gradients**4).mean() / (gradients**2).mean() ** 2 > 6


def test_the_spectrum_test_sees_white_noise() -> None:
    """The twin that must fail."""
    noise = [np.random.default_rng(seed).integers(0, 256, (128, 128, 3)) for seed in range(8)]
    assert not -3.2 < spectrum_slope(noise) < -1.2
