import pytest
import torch

from seizurelit.config import Training, with_overrides
from seizurelit.data.fold import Batch
from seizurelit.models.agcn import Agcn
from seizurelit.models.tcn import Tcn
from seizurelit.training.networks import WindowNetwork, reads


def batch(condition: torch.Tensor | None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(2, 3, 8, dtype=torch.bool)
    mask[1, :, 6:] = False
    keypoints = torch.randn(2, 3, 4, 8, 5, generator=generator) * mask[:, :, None, :, None]
    appearance = torch.randn(2, 3, 7, 8, generator=generator)
    every = torch.ones(2, 3, dtype=torch.bool)
    return Batch(
        keypoints, mask, appearance, mask, condition, every, torch.tensor([0, 1]), torch.ones(2), torch.arange(2)
    )


@pytest.mark.parametrize(
    ("make", "modality"),
    [
        (lambda told: Agcn(torch.eye(5).expand(3, 5, 5), 4 + told, 2, variant="small"), "keypoints"),
        (lambda told: Tcn(4 * 5 + told, 2, 8, 2), "keypoints"),
        (lambda told: Tcn(7 + told, 2, 8, 2), "appearance"),
    ],
)
def test_a_condition_is_told_once_and_changes_the_logits(make, modality):
    torch.manual_seed(0)
    assert WindowNetwork(make(0), modality)(batch(None)).shape == (2, 3, 2)
    network = WindowNetwork(make(2), modality).eval()
    one, other = (network(batch(torch.tensor(told))) for told in ([[1.0, 0], [0, 1]], [[0.0, 1], [0, 1]]))
    assert one.shape == (2, 3, 2)
    assert not torch.allclose(one[0], other[0])
    torch.testing.assert_close(one[1], other[1])


def test_a_network_says_what_its_batch_lacks():
    network = WindowNetwork(Tcn(7, 2, 8, 2), "appearance")
    with pytest.raises(ValueError, match="appearance"):
        network(batch(None)._replace(appearance=None))


def test_what_a_model_reads():
    training = Training()
    assert reads("agcn", training) == ("keypoints",)
    assert reads("tcn", training) == ("appearance",)
    assert reads("agcn_kd", training) == ("keypoints", "appearance")
    assert reads("agcn_kd", with_overrides(training, {"distillation.alpha": 0.0})) == ("keypoints",)
    assert reads("agcn_kd", with_overrides(training, {"tcn.input": "keypoints"})) == ("keypoints",)
