"""How each reference evaluator measures: numbers of two protocols are not to be compared."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

from score_jax.errors import InputError, unknown_name
from score_jax.evaluation.resize import Resize
from score_jax.typing import Rounding


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One evaluator's choices. All take unbiased float64 covariances.

    Attributes:
      name: its name.
      network: whose features are compared: Inception's pool3, the token of DINOv2 that stands for the whole image,
        the second hidden layer of VGG16, CLIP's embedding, or what `evaluation/fd_loss.py` takes of its networks.
      resize: to what the network sees, 299 x 299, 224 x 224 of most others, 336 x 336 of CLIP, see `resize.resize`.
      size: height and width of what the network sees, where it is another one.
      centre: what 0 of Inception's input is in levels: it sees (x - centre) / centre. DINOv2 and VGG16 see ImageNet's
        mean and standard deviation, CLIP those of its own data.
      rounding: of samples to uint8, see `Pixels.decode`.
      frechet: whether the Frechet distance is one of its numbers.
      spatial: whether sFID is one of its numbers.
      inception_score: which rows make a split: "chunks" of 5000 in their order, ten "shuffled" ones, or the "whole";
        "" for no Inception Score.
      biased_logits: whether the Inception Score's logits have the last layer's bias.
      kid: 100 "subsets" of 1000 or, of fewer images, of half of the smaller set; "full_subsets" of 1000 or of the whole
        smaller set; "blocks" of about 1024 in their order; "" for none.
      mind: whether that is one of its numbers.
      cmmd: whether that is one of its numbers.
      neighbours: k of precision and recall; 0 for none.
      manifold_reference: reference images that precision and recall take; None for all.
      manifold_balanced: whether they take as many generated images as real ones, the fewer of both.
      authenticity: whether that is one of its numbers; the reference is then taken for the training data.
      scaled: whether held-out images are for the scale of the Frechet distance alone, and not for tests of copies: then
        means and covariances of them and of the reference suffice.
    """

    name: str
    network: Literal["inception", "dinov2", "vgg16", "clip", "clip_224", "mae", "siglip2", "convnextv2"] = "inception"
    resize: Resize = "tf1"
    size: int | None = None
    centre: float = 128.0
    rounding: Rounding = "rounded"
    frechet: bool = True
    spatial: bool = False
    inception_score: str = ""
    biased_logits: bool = False
    kid: str = ""
    mind: bool = False
    cmmd: bool = False
    neighbours: int = 0
    manifold_reference: int | None = None
    manifold_balanced: bool = False
    authenticity: bool = False
    scaled: bool = False


_OF_FD_LOSS: tuple[tuple[str, Any, int], ...] = (
    ("convnext", "convnextv2", 224),
    ("dinov2", "dinov2", 256),
    ("mae", "mae", 224),
    ("siglip", "siglip2", 224),
    ("clip", "clip_224", 256),
)
"""Of its networks but Inception: the authors' name, ours, and the side of what it sees."""

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "adm", rounding="truncated", spatial=True, inception_score="chunks", neighbours=3, manifold_reference=10_000
        ),
        Protocol("pytorch_fid", resize="torch", centre=127.5),
        # Its precision and recall are of another network, so they are a protocol of their own.
        Protocol("torch_fidelity", inception_score="shuffled", kid="subsets", mind=True),
        Protocol("torch_fidelity_prc", network="vgg16", frechet=False, neighbours=3),
        Protocol("clean_fid", resize="clean", kid="full_subsets"),
        Protocol("edm"),
        # What resizes inside its TensorFlow Hub module is not published; TF1's bilinear rule stands for it.
        Protocol(
            "score_sde",
            centre=127.5,
            rounding="truncated",
            inception_score="whole",
            biased_logits=True,
            kid="blocks",
        ),
        # The port in JAX that the MeanFlow lineage evaluates with. It computes the shift of the sampling grid that
        # would make its resize TF1's rule, and does not apply it.
        Protocol("jax_fid", resize="torch", inception_score="shuffled"),
        Protocol("edm2_dinov2", network="dinov2", resize="torch_bicubic"),
        # The authors choose the 10,000 images of both sets at random, and 50,000 of a larger reference.
        Protocol(
            "dgm_eval",
            network="dinov2",
            resize="pillow",
            kid="full_subsets",
            neighbours=5,
            manifold_reference=10_000,
            manifold_balanced=True,
            authenticity=True,
        ),
        Protocol("cmmd", network="clip", resize="pillow", frechet=False, cmmd=True),
        Protocol("fd_loss_inception", centre=127.5, scaled=True),
        *(
            Protocol(f"fd_loss_{name}", network=network, resize="torch_bicubic", size=size, scaled=True)
            for name, network, size in _OF_FD_LOSS
        ),
    )
}
"""By name. Sources: guided-diffusion's evaluator, pytorch-fid, torch-fidelity, clean-fid, EDM, score_sde,
Lyy-iiis/imeanflow's utils/fid_util.py, NVlabs/edm2's calculate_metrics.py, dgm-eval, google-research's cmmd,
Jiawei-Yang/FD-Loss's eval_all_fds.py."""

SETS = {"fd_loss": ("fd_loss_inception", *(f"fd_loss_{name}" for name, *_ in _OF_FD_LOSS))}
"""Names of several protocols that are measured together, and of which one number is made: see `protocol_set.py`."""

PLAIN = Protocol("plain", rounding="truncated", kid="subsets")
"""For features that are not Inception's."""


def protocol_names(given: str | Iterable[Any]) -> list[str]:
    """Returns the names of several protocols, of a text those between commas, and of a set those of its members.

    Raises:
      InputError: there is none, a name is there twice or empty, or a protocol is none.
    """
    asked = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
    shown = ",".join(map(str, asked))
    if not asked or "" in asked:
        raise InputError(f"protocol={shown!r} lacks a name: give one, or several such as adm,jax_fid.")
    names = [member for name in asked for member in (SETS.get(name, (name,)) if isinstance(name, str) else (name,))]
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"protocol={names!r}: expected names, such as 'adm'; {name!r} cannot be one of several.")
        protocol_of(name)
        if names.count(name) > 1:
            raise InputError(f"protocol={shown} names {name} twice: leave one out.")
    return names


def protocol_of(name: str) -> Protocol:
    """Returns the protocol of that name.

    Raises:
      InputError: there is none, or there are several.
    """
    if name in SETS:
        raise InputError(f"{name!r} is several protocols: give one of them here, {', '.join(SETS[name])}.")
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, [*PROTOCOLS, *SETS])
    return PROTOCOLS[name]
