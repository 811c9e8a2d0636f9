"""What goes with exported weights: what they are, what they were trained on, and how good they were found."""

from typing import Any, NamedTuple

from launch.trained import Trained

# What `n2n evaluate` calls the noisy and the denoised, of pictures and of renders.
DECIBELS = (("psnr_noisy_srgb_db", "psnr_srgb8_db"), ("psnr_noisy_tonemapped_db", "psnr_tonemapped_db"))

INPUT = """\
`noisy`, float32 (N, {channels}, H, W): pictures as encoded in the file (sRGB), 0 black and 1 white, not clipped.
`denoised` is the same, not clipped either. Any N, H and W. Padding, centring and encoding are inside.
To cut a large picture into tiles, give each {context} pixels of its surroundings and
start at multiples of {multiple}."""


INPUT_OF_FRAMES = """\
OpenEXR frames, as `n2n denoise` finds radiance{buffers} in them.
As a graph for other programs: `noisy`, float32 (N, {channels}, H, W), linear: radiance times the exposure that brings
its log-average luminance to 0.18, without NaN or infinity{then}, as rendered. `denoised` is (N, 3, H, W), linear
radiance times that exposure. Any N, H and W. Transfer, clipping and padding are inside.
To cut a large frame into tiles, give each {context} pixels of its surroundings and start at multiples of {multiple}."""


class Said(NamedTuple):
    """What only the maker of weights knows of them."""

    scores: list[dict[str, Any]]
    """As `n2n evaluate --json` writes them."""
    licence: str = "not stated"
    pictures: str = "not stated"
    """What they were trained on, in words."""


def card(trained: Trained, name: str, kind: str, parity: float, said: Said) -> str:
    """A page of Markdown; `parity` is the greatest difference to the network in PyTorch, in float32."""
    parameters = sum(parameter.numel() for parameter in trained.net.parameters())
    training = trained.training
    facts = [
        ("file", f"`{name}` ({kind})"),
        ("network", f"{trained.net.title}; {parameters:,} parameters"),
        ("noise it was trained on", noise_of(trained)),
        ("targets", str(training.get("pairs", {}).get("target", "not known"))),
        ("training samples consumed", f"{training['images']:,}" if "images" in training else "not known"),
        *([("began with", begun_with(training["init"]))] if training.get("init") else []),
        ("training pictures", said.pictures),
        ("training set (SHA-256 of its sample table)", str(training.get("data_sha256") or "not known")),
        ("greatest difference to PyTorch", f"{parity:.1e}"),
        ("licence of the weights", said.licence),
    ]
    parts = [f"# {name}", "| | |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in facts)]
    parts += ["## Input and output", input_of(trained)]
    parts += ["## Results", results(said.scores)]
    return "\n\n".join(parts) + "\n"


def begun_with(init: dict[str, Any]) -> str:
    samples = f"{init['images']:,} training samples" if init["images"] else "unknown training"
    return f"weights of SHA-256 {init['sha256'][:16]}, after {samples}"


def noise_of(trained: Trained) -> str:
    """The corruption and its strengths in training: `gaussian sigma_255=[0.0, 50.0]`."""
    if trained.kind == "renders":
        return "that of Monte Carlo renders"
    strengths = trained.training.get("corruption", {})
    given = [f"{option}={value}" for option, value in strengths.items() if option != "name" and value is not None]
    return " ".join([trained.corruption, *given])


def input_of(trained: Trained) -> str:
    reach = trained.net.reach._asdict()
    if trained.kind == "pictures":
        return INPUT.format(channels=trained.channels, **reach)
    renders = trained.training["renders"]
    buffers = "".join(f", {buffer}" for buffer in renders["buffers"])
    then = f"; then{buffers[1:]}" if buffers else ""
    return INPUT_OF_FRAMES.format(channels=trained.channels, buffers=buffers, then=then, **reach)


def results(scores: list[dict[str, Any]]) -> str:
    if not scores:
        return "None were given."
    lines = ["| denoiser | noise | pictures | noisy dB | denoised dB | SSIM |", "|---|---|---|---|---|---|"]
    for score in scores:
        about = f"{score.get('denoiser', '')} | {score.get('noise', 'renders')} | {pictures_of(score)}"
        noisy, denoised = decibels_of(score)
        similar = score["mean"].get("ssim_srgb8")
        lines.append(f"| {about} | {noisy:.2f} | {denoised:.2f} | {'-' if similar is None else f'{similar:.4f}'} |")
    return "\n".join(lines)


def decibels_of(score: dict[str, Any]) -> tuple[float, float]:
    """Noisy and denoised, of a score of pictures (encoded) or of renders (tone-mapped)."""
    mean = score["mean"]
    noisy, denoised = next(names for names in DECIBELS if names[0] in mean)
    return mean[noisy], mean[denoised]


def pictures_of(entry: dict[str, Any]) -> str:
    """`kodak (24)`."""
    return f"{entry.get('pictures', '')} ({len(entry['images'])})".strip()
