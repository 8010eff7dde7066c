"""A training that was interrupted goes on as if it had not been."""

from pathlib import Path

import torch
from torch import nn

from thespis.scripts.demo_training import checkpoints


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight  # tied, as a language model's head may be
    return network, torch.optim.AdamW(network.parameters(), lr=0.1, betas=(0.9, 0.98))


def step(network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    network(torch.ones(2, 3)).square().sum().backward()
    optimiser.step()


def test_what_is_resumed_goes_on_as_it_would_have(tmp_path: Path) -> None:
    path = tmp_path / "stage.safetensors"
    network, optimiser = made()
    assert checkpoints.resume(path, network, optimiser) is None
    step(network, optimiser)
    checkpoints.save(path, network, optimiser, {"step": 1, "right": {"what": 0.5}})
    assert list(tmp_path.iterdir()) == [path]
    step(network, optimiser)
    again, its_optimiser = made()
    assert checkpoints.resume(path, again, its_optimiser) == {"step": 1, "right": {"what": 0.5}}
    step(again, its_optimiser)
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
