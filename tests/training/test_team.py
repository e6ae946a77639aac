"""What processes do together while they train: two of them, over gloo."""

from __future__ import annotations

import pytest
import torch
from torch import distributed, multiprocessing, nn

from pie_ray.config import Training
from pie_ray.errors import ModelError, NonFiniteLossError, TeamError
from pie_ray.training import train
from pie_ray.training.team import Joined, join, open_store

HOST = "127.0.0.1"


class Noise:
    """Four batches of eight noisy images, a half of each for either process; the second's may be spoilt."""

    device = torch.device("cpu")

    def __init__(self, share: tuple[int, int], spoilt: float = 1.0) -> None:
        rank, num_processes = share
        images = torch.randn(4, 8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        labels = torch.randint(3, (4, 8), generator=torch.Generator().manual_seed(1))
        own = slice(8 * rank // num_processes, 8 * (rank + 1) // num_processes)
        self.images, self.labels = images[:, own] * (spoilt if rank == 1 else 1.0), labels[:, own]

    def __len__(self) -> int:
        return 4

    def epoch(self, first_step: int = 0):
        yield from list(zip(self.images, self.labels, strict=True))[first_step:]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


CONFIG = Training(epochs=2, learning_rate=0.05, precision="float32")


def spare() -> nn.Module:
    net = network()
    net.spare = nn.Linear(2, 2)
    net.forward = lambda images: net[3](net[2](net[1](net[0](images))))
    return net


def _trained(team: Joined):
    net = network()
    result = train(net, Noise(team.share), CONFIG, team=team)
    return [weight.detach() for weight in net.parameters()], result.loss


def _error(team: Joined, kind, net, spoilt=1.0):
    with pytest.raises(kind) as caught:
        train(net, Noise(team.share, spoilt), CONFIG, team=team)
    return str(caught.value)


def _differing(team: Joined):
    net = network()
    if team.share[0] == 1:
        with torch.no_grad():
            net[0].bias[0] += 1e-6
    with pytest.raises(TeamError) as caught:
        team.check_same(net)
    return str(caught.value)


def _do(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = distributed.TCPStore(HOST, port, is_master=False)
    with join(store, rank, 2, torch.device("cpu")) as team:
        found = {
            "weights, loss": _trained(team),
            "again": _trained(team),
            "infinite": _error(team, NonFiniteLossError, network(), spoilt=float("inf")),
            "unused": _error(team, ModelError, spare()),
            "differing": _differing(team),
            "from first": team.from_first(lambda: f"of {rank}"),
        }
    torch.save(found, f"{folder}/{rank}")


@pytest.mark.long
def test_two_processes_agree_in_everything(tmp_path):
    store = open_store(HOST)
    multiprocessing.spawn(_do, (store.port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(2))
    alone = network()
    loss = train(alone, Noise((0, 1)), CONFIG).loss
    weights, told = first["weights, loss"]
    assert told == second["weights, loss"][1] == pytest.approx(loss)
    for mine, other, same, lone in zip(
        weights, second["weights, loss"][0], first["again"][0], alone.parameters(), strict=True
    ):
        assert torch.equal(mine, other) and torch.equal(mine, same)
        torch.testing.assert_close(mine, lone.detach())
    # Spoilt in the second process alone.
    assert first["infinite"] == second["infinite"] and "epoch 1, step 1" in first["infinite"]
    assert first["unused"] == second["unused"] and "spare.weight" in first["unused"]
    assert first["differing"] == second["differing"] and "process 1 differ" in first["differing"]
    assert first["from first"] == second["from first"] == "of 0"
