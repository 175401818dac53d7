import pytest
import torch

from bench.small import QUICK_TRAINING
from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import Training, with_overrides
from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.data.store import load_store
from seizurelit.models.agcn import Agcn
from seizurelit.models.tcn import Tcn
from seizurelit.training.fit import fit
from seizurelit.training.modules import DistilledStudent
from seizurelit.training.networks import WindowNetwork, build_network, reads


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


def test_a_teacher_is_in_evaluation_mode_while_its_student_is_trained(tiny_cache, monkeypatch):
    """Its dropout would teach noise; Lightning leaves each module in the mode that it finds."""
    cache = Cache.open(tiny_cache)
    cohort = cache.cohort()
    sign = cohort.sign("dystonia")
    store = load_store(cache, cohort, sign, "pose", keypoints=True, appearance=True)
    data = FoldDataModule(store, loso_plan(cohort, sign).folds[0], QUICK_TRAINING, seed=0)
    modes = []
    real = DistilledStudent.teacher_logits

    def watched(self, batch):
        modes.append((self.training, any(module.training for module in self.teachers.modules())))
        return real(self, batch)

    monkeypatch.setattr(DistilledStudent, "teacher_logits", watched)
    teacher = build_network("tcn", QUICK_TRAINING, data)
    nobody = torch.zeros(len(store.seizures), dtype=torch.long)
    fit("agcn_kd", data, QUICK_TRAINING, seed=0, device="cpu", history=None, teachers=(teacher,), teacher_of=nobody)
    assert set(modes) == {(True, False)}
