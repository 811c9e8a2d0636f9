"""Padding by reflection."""

import pytest
import torch
import torch.nn.functional as F

from model.padding import pad_to_multiple, reflect_index


def test_reflection_folds_as_often_as_needed() -> None:
    assert reflect_index(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert reflect_index(1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [(33, 40), (32, 50)])
def test_it_is_torch_s_reflection_where_that_works(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    expected = F.pad(x, (0, -size[1] % 32, 0, -size[0] % 32), mode="reflect")
    assert torch.equal(pad_to_multiple(x, 32), expected)


def test_what_fits_is_not_copied() -> None:
    x = torch.rand(1, 3, 32, 64)
    assert pad_to_multiple(x, 32).data_ptr() == x.data_ptr()
