"""Evidence is counted right, also where kernels do not divide evenly."""

import numpy as np
import pytest

from studylib.training import evidence


def test_sparsity_counts_weights_and_not_kernels():
    assert evidence.sparsity({"a": np.zeros((2, 2)), "b": np.ones((3, 4))}) == pytest.approx(4 / 16)
    assert evidence.sparsity({}) == 0


def test_distinct_values_are_counted_for_each_kernel():
    found = evidence.of_each({"a": np.array([[1.0, 1.0], [0.0, 2.0]])})
    assert found == {"a": {"sparsity": 0.25, "distinct_values": 3}}


def test_distinct_values_of_a_channel_are_those_of_the_richest():
    assert evidence.most_values_of_a_channel(np.array([[1.0, 5.0], [1.0, 6.0], [1.0, 7.0]])) == 3


def test_groups_lie_along_the_input_channels():
    kernel = np.ones((8, 3))
    kernel[[0, 1, 4, 5]] = 0  # two of every four inputs
    assert evidence.groups_that_hold({"dense": kernel}, 2, 4) == 1
    assert evidence.groups_that_hold({"dense": kernel.T}, 2, 4) < 1
    kernel[0, 0] = 1
    assert evidence.groups_that_hold({"dense": kernel}, 2, 4) == pytest.approx(5 / 6)
    convolution = np.ones((3, 3, 4, 2))
    convolution[:, :, 2:] = 0
    assert evidence.groups_that_hold({"convolution": convolution}, 2, 4) == 1


def test_a_group_cut_short_counts_as_filled_with_zeros():
    assert evidence.groups_that_hold({"dense": np.ones((5, 1))}, 2, 4) == pytest.approx(1 / 2)
