"""What goes with exported weights: what they are, what they were trained on, and how good they were found."""

from typing import Any, NamedTuple

from launch.denoiser import Denoiser

INPUT = """\
`noisy`, float32 (N, {channels}, H, W): pictures as encoded in the file (sRGB), 0 black and 1 white, not clipped.
`denoised` is the same, not clipped either. Any N, H and W. Padding, centring and encoding are inside.
To cut a large picture into tiles, give each {context} pixels of its surroundings and
start at multiples of {multiple}."""


class Said(NamedTuple):
    """What only the maker of weights knows of them."""

    scores: list[dict[str, Any]]
    """As `n2n evaluate --json` writes them."""
    licence: str = "not stated"
    pictures: str = "not stated"
    """What they were trained on, in words."""


def card(denoiser: Denoiser, name: str, kind: str, parity: float, said: Said) -> str:
    """A page of Markdown; `parity` is the greatest difference to the network in PyTorch, in float32."""
    parameters = sum(parameter.numel() for parameter in denoiser.net.parameters())
    training = denoiser.training
    facts = [
        ("file", f"`{name}` ({kind})"),
        ("network", f"{denoiser.net.title}; {parameters:,} parameters"),
        (
            "noise it was trained on",
            " ".join(f"{k}={v}" for k, v in training.get("corruption", {}).items() if v is not None),
        ),
        ("targets", str(training.get("pairs", {}).get("target", "not known"))),
        ("training samples consumed", f"{training['images']:,}" if "images" in training else "not known"),
        ("training pictures", said.pictures),
        ("training set (SHA-256 of its sample table)", str(training.get("data_sha256") or "not known")),
        ("greatest difference to PyTorch", f"{parity:.1e}"),
        ("licence of the weights", said.licence),
    ]
    parts = [f"# {name}", "| | |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in facts)]
    parts += ["## Input and output", INPUT.format(channels=denoiser.channels, **denoiser.net.reach._asdict())]
    parts += ["## Results", results(said.scores)]
    return "\n\n".join(parts) + "\n"


def results(scores: list[dict[str, Any]]) -> str:
    if not scores:
        return "None were given."
    lines = ["| denoiser | noise | pictures | noisy dB | denoised dB | SSIM |", "|---|---|---|---|---|---|"]
    for entry in scores:
        mean = entry["mean"]
        numbers = (f"{mean['psnr_noisy_srgb_db']:.2f}", f"{mean['psnr_srgb8_db']:.2f}", f"{mean['ssim_srgb8']:.4f}")
        lines.append(f"| {entry['denoiser']} | {entry['noise']} | {pictures_of(entry)} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def pictures_of(entry: dict[str, Any]) -> str:
    """`kodak (24)`."""
    return f"{entry.get('pictures', '')} ({len(entry['images'])})".strip()
