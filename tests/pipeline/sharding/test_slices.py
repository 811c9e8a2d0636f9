"""Volumes: NIfTI and .npy into greyscale slices, upright and scaled; what is no volume; slices of one stay together."""

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import Pixels
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, main, shard
from pipeline.sharding.slices import is_picture_npy, read_slices
from pipeline.sharding.split import Split
from pipeline.sources.listing import list_sources


def volume(seed: int = 0, slices: int = 5) -> NDArray[np.int16]:
    """(X, Y, Z) as NIfTI has it: from left to right, back to front, bottom to top; the lowest slice is empty."""
    values = np.random.default_rng(seed).integers(200, 4000, (12, 16, slices)).astype(np.int16)
    values[0, -1] = 4000  # the left front corner of each slice is the brightest
    values[:, :, 0] = 3
    return values


def nifti(values: NDArray[Any], flips: tuple[int, int, int] = (1, 1, 1), second: bool = False) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    data: bytes = kind(values, np.diag([*map(float, flips), 1.0])).to_bytes()
    return data


def npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def expected(values: NDArray[np.int16]) -> list[Pixels]:
    scaled = (values / values.max() * 65535 + 0.5).astype(np.uint16)
    return [scaled[:, ::-1, z].T[None] for z in range(1, values.shape[2])]


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_nifti_becomes_upright_slices_of_16_bits(packed: bool, second: bool) -> None:
    data = nifti(volume(), second=second)
    slices = read_slices(gzip.compress(data) if packed else data, "a.nii.gz" if packed else "a.nii", "a")
    assert (slices.numbers, slices.total, slices.scale) == ([1, 2, 3, 4], 5, 4000.0)
    for got, wanted in zip(slices.pixels, expected(volume()), strict=True):
        assert got.shape == (1, 16, 12)
        assert (got == wanted).all()
        assert got[0, 0, 0] == 65535, "the left front corner is at the top left"


def test_a_nifti_stored_the_other_way_round_becomes_the_same_slices() -> None:
    mirrored = np.ascontiguousarray(volume()[::-1, :, ::-1])
    slices = read_slices(nifti(mirrored, flips=(-1, 1, -1)), "a.nii", "a")
    assert all((got == wanted).all() for got, wanted in zip(slices.pixels, expected(volume()), strict=True))


def test_arrays_are_slices_unless_they_are_pictures() -> None:
    floats = np.random.default_rng(0).normal(0.5, 0.4, (4, 9, 7)).astype(np.float32)
    slices = read_slices(npy(floats), "a.npy", "a")
    assert slices.scale == pytest.approx(floats.max())
    assert slices.pixels[0].dtype == np.uint16
    assert slices.pixels[0].min() == 0, "below zero is zero"
    bytes_ = np.random.default_rng(0).integers(0, 200, (9, 7), np.uint8)
    as_it_is = read_slices(npy(bytes_), "a.npy", "a")
    assert as_it_is.scale is None
    assert (as_it_is.pixels[0] == bytes_[None]).all()
    assert is_picture_npy(npy(np.zeros((3, 9, 7), np.uint8)))
    assert not is_picture_npy(npy(np.zeros((3, 9, 7), np.float32)))
    assert not is_picture_npy(npy(np.zeros((4, 9, 7), np.uint8)))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (npy(np.zeros((2, 3, 9, 7))), "not a volume"),
        (npy(np.zeros((9, 7), complex)), "not a volume"),
        (npy(np.full((9, 7), np.nan)), "not finite"),
        (npy(np.zeros((9, 7))), "an empty volume"),
        (npy(np.ones((9, 7)))[:-8], "not readable"),
        (b"\x93NUMPY", "not readable"),
        (b"nothing of the kind", "not readable"),
    ],
)
def test_what_is_no_array_of_slices_is_told(data: bytes, told: str) -> None:
    assert not is_picture_npy(data)
    with pytest.raises(BadInput, match=told):
        read_slices(data, "a.npy", "a")


def test_damaged_and_four_dimensional_niftis_are_told() -> None:
    whole = nifti(volume())
    series = nifti(np.ones((4, 5, 6, 7), np.int16))
    for data in (b"", b"\0" * 400, whole[:-8], gzip.compress(whole)[:-20], series, gzip.compress(b"\0" * (1 << 20))):
        with pytest.raises(BadInput, match="not a readable volume"):
            read_slices(data, "a.nii.gz", "a")


def test_a_bomb_is_refused_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sharding.slices.MAX_VOXELS", 1 << 16)
    with pytest.raises(BadInput, match="expands to gigabytes"):
        read_slices(gzip.compress(b"\0" * (1 << 24)), "a.nii.gz", "a")
    with pytest.raises(BadInput, match="at most 65,536"):
        read_slices(gzip.compress(nifti(np.ones((64, 64, 64), np.int16))), "a.nii.gz", "a")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number in range(6):
        path = folder / f"patient{number}" / "T1.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(nifti(volume(number)), mtime=0))
    (folder / "array.npy").write_bytes(npy(np.random.default_rng(9).random((3, 16, 12))))
    return folder


def samples_of(folder: Path) -> list[dict[str, Any]]:
    with_json = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            with_json += [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]  # type: ignore[arg-type]
    return with_json


def test_a_folder_of_scans_becomes_a_set(scans: Path, tmp_path: Path) -> None:
    index = shard(list_sources([scans], slices=True), tmp_path / "out", ShardConfig())[""]
    assert index is not None
    assert index.samples == 6 * 4 + 3
    assert sorted(entry.kind for entry in index.left_out) == ["empty"] * 6
    assert "1 of 5 slices" in index.left_out[0].reason
    opened = ShardSet(tmp_path / "out")
    first = {(about["source"], about["slice"]): n for n, about in enumerate(samples_of(tmp_path / "out"))}
    got = opened.pixels(first["patient3/T1.nii.gz", 2])
    assert (got == expected(volume(3))[1]).all()
    assert {about["encoding"] for about in samples_of(tmp_path / "out")} == {"linear"}


def test_slices_of_one_volume_are_in_one_part_of_a_split(scans: Path, tmp_path: Path) -> None:
    config = ShardConfig(split=Split("val", 0.4))
    shard(list_sources([scans], slices=True), tmp_path / "out", config)
    sources = [{about["source"] for about in samples_of(tmp_path / "out" / part)} for part in ("train", "val")]
    assert sources[0]
    assert sources[1]
    assert not sources[0] & sources[1]


def test_a_tar_of_scans_is_read_in_place(scans: Path, tmp_path: Path) -> None:
    """As the IXI collection comes."""
    with tarfile.open(tmp_path / "scans.tar", "w") as tar:
        tar.add(scans, "scans")
    index = shard(list_sources([tmp_path / "scans.tar"], slices=True), tmp_path / "out", ShardConfig())[""]
    assert index is not None
    assert index.samples == 27


def test_volumes_are_taken_where_they_are_asked_for_alone(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = scans / "patient0" / "T1.nii.gz"
    for asked in (scans, one):
        with pytest.raises(BadInput, match="--slices"):
            list_sources([asked])
    main([str(one), "--slices", "--out", str(tmp_path / "out"), "--workers", "1"])
    assert "4 pictures in 1 shards" in capsys.readouterr().out


def test_unreadable_volumes_are_left_out(scans: Path, tmp_path: Path) -> None:
    (scans / "patient0" / "T1.nii.gz").write_bytes(b"\x1f\x8bdamaged")
    index = shard(list_sources([scans], slices=True), tmp_path / "out", ShardConfig(max_bad=0.5))[""]
    assert index is not None
    lost = [entry for entry in index.left_out if entry.kind == "unreadable"]
    assert lost[0].source == "patient0/T1.nii.gz"
    assert isinstance(lost[0], LeftOut)


def test_without_nibabel_the_package_is_named(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(BadInput, match=r"-e '\.\[mri\]'"):
        shard(list_sources([scans], slices=True), tmp_path / "out", ShardConfig())
