"""Dropped hidden-to-hidden weights: one call of PyTorch's LSTM gives what the handout's loop over timesteps does."""

import handout
import pytest
import torch
from twins import handout_name

from common.models.layers import StatefulLSTM


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def twins(weight_drop):
    torch.manual_seed(0)
    ours, theirs = StatefulLSTM(5, 4, weight_drop), handout.StatefulLSTM(5, 4)
    theirs.load_state_dict({handout_name(name): value for name, value in ours.state_dict().items()})
    return ours, theirs


def run_loop(model, x):
    model.reset_state()
    return torch.stack([model(x[:, i]) for i in range(x.shape[1])], dim=1)


def test_training_equals_the_loop_with_the_same_weights_left_out():
    ours, theirs = twins(0.5)
    x = torch.randn(3, 7, 5)
    x_too = x.clone().requires_grad_()
    x.requires_grad_()
    ours.reset_state()
    # a sequence in two pieces has one mask
    outputs = torch.cat([ours(x[:, :4]), ours(x[:, 4:])], dim=1)
    mask = (ours.dropped_weight / ours.lstm.weight_hh_l0).detach()
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    with torch.no_grad():
        theirs.lstm.weight_hh.mul_(mask)
    expected = run_loop(theirs, x_too)
    torch.testing.assert_close(outputs, expected)

    outputs.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, x_too.grad)
    for name, weight in ours.lstm.named_parameters():
        gradient = getattr(theirs.lstm, handout_name(name)).grad
        torch.testing.assert_close(weight.grad, gradient * mask if name == "weight_hh_l0" else gradient)


def test_each_batch_has_a_mask_of_its_own():
    ours, _ = twins(0.5)
    masks = []
    for _ in range(2):
        ours.reset_state()
        ours(torch.randn(3, 2, 5))
        masks.append(ours.dropped_weight != 0)
    assert not torch.equal(*masks)


@pytest.mark.parametrize("weight_drop", [0.0, 0.5])
def test_evaluation_has_all_weights(weight_drop):
    ours, theirs = twins(weight_drop)
    x = torch.randn(3, 7, 5)
    torch.testing.assert_close(ours.eval()(x), run_loop(theirs, x))
    assert ours.dropped_weight is None
