"""PSNR, SSIM and MS-SSIM of 8-bit pictures, by the published protocol."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PEAK = 255.0
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # Wang et al. 2004, section III.B
SSIM_K1, SSIM_K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik 2003, section 3.2
MS_SSIM_SIDE = SSIM_WINDOW << (len(SCALE_WEIGHTS) - 1)  # 176 pixels: a whole window is left at the coarsest scale


def to_8_bit(picture: Tensor) -> Tensor:
    """[0, 1] -> whole numbers 0..255 as float32: rounded half up and clipped, as the published evaluation does."""
    return (picture * PEAK + 0.5).floor().clamp(0, PEAK)


def psnr_db(picture: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio of two pictures in 8 bits, over all channels and pixels together.

    Infinite for equal pictures.
    """
    mse = float((picture.double() - clean.double()).square().mean())
    return 10 * math.log10(PEAK**2 / mse) if mse > 0 else math.inf


def ssim(picture: Tensor, clean: Tensor) -> float:
    """Structural similarity of two (C, H, W) pictures in 8 bits, the mean over channels and window positions.

    Gaussian windows of 11x11 with sigma 1.5, inside the picture only; the largest that fits where a side is
    smaller. Source: Wang, Bovik, Sheikh and Simoncelli 2004, equation 13.
    """
    luminance, contrast = local_similarity(picture.double()[:, None], clean.double()[:, None])
    return float((luminance * contrast).mean())


def ms_ssim(picture: Tensor, clean: Tensor) -> float | None:
    """SSIM over five scales of two (C, H, W) pictures in 8 bits, the mean over channels.

    Each scale halves the one before by the mean of 2x2 pixels; an odd last line is left out. Contrast counts at every
    scale, luminance at the coarsest, negative values as zero. None where a side is below MS_SSIM_SIDE, as there is no
    window at the coarsest scale. Source: Wang, Simoncelli and Bovik 2003, equation 7.
    """
    if min(clean.shape[-2:]) < MS_SSIM_SIDE:
        return None
    x, y = picture.double()[:, None], clean.double()[:, None]
    product = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        luminance, contrast = local_similarity(x, y)
        last = scale == len(SCALE_WEIGHTS) - 1
        value = (luminance * contrast if last else contrast).mean((1, 2, 3))
        product = product * value.clamp(min=0) ** weight
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return float(product.mean())


def local_similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, of (N, 1, H, W) at every window position; their product is SSIM."""
    size = min(SSIM_WINDOW, *x.shape[-2:])
    ramp = torch.arange(size, dtype=torch.float64, device=x.device) - (size - 1) / 2
    line = torch.exp(-ramp.square() / (2 * SSIM_SIGMA**2))
    line = line / line.sum()

    def local_mean(z: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(z, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))

    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x = local_mean(x * x) - mean_x.square()
    var_y = local_mean(y * y) - mean_y.square()
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return luminance, (2 * covariance + c2) / (var_x + var_y + c2)
