"""Networks that measure: their weights are read once for all protocols of a job."""

import dataclasses

import pytest

from score_jax.errors import InputError
from score_jax.evaluation.features import plain_features
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.jobs.extractors import NETWORKS, measured_by, of_protocols


def test_weights_are_read_once_for_all_protocols_of_a_network(monkeypatch, capsys):
    read = []

    @dataclasses.dataclass(frozen=True)
    class Found:
        name: str = "tiny"

    def find(path, *, allow_other):
        read.append((path, allow_other))
        return Found()

    def extractor(found, protocol):
        return plain_features(f"{found.name}_{protocol.name}", lambda images: images)

    network = dataclasses.replace(NETWORKS["dinov2"], find=find, extractor=extractor)
    monkeypatch.setitem(NETWORKS, "dinov2", network)
    protocols = [PROTOCOLS[name] for name in ("edm2_dinov2", "dgm_eval")]
    made = of_protocols(protocols, {}, allow_other=True)
    assert read == [(None, True)] and [each.name for each in made] == ["tiny_edm2_dinov2", "tiny_dgm_eval"]
    assert capsys.readouterr().out.count("Warning: these numbers are of tiny") == 1


def test_names_that_cannot_be_measured_are_one_line():
    with pytest.raises(InputError, match="Unknown weights 'resnet'"):
        of_protocols([PROTOCOLS["adm"]], {"resnet": "file"}, allow_other=False)
    with pytest.raises(InputError, match="'adm' measures a network's features: give protocol=None with your own"):
        measured_by(["adm"], len, {}, allow_other=False)
