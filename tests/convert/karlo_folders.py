"""Karlo with few channels, as diffusers writes its folder and as its authors wrote their files.

Names and shapes of the folder are listed by diffusers' rules; Karlo's own files are made from a converted workdir.
"""

import functools
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

sys.path.append(str(Path(__file__).parent))
from diffusers_folders import Shapes, _layer, _resnet, filled

from score_jax.builder import build_network
from score_jax.builder.workdirs import load_config
from score_jax.convert import clip, karlo
from score_jax.convert.correspondence import to_theirs
from score_jax.jobs.convert_karlo import STAGES, table_of
from score_jax.models.clip.clip import CLIP, TextTransformer
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.training.weights import load_params

FEATURES, LENGTH, CROSS, WIDTH = 64, 8, 96, 128
TOWERS = CLIP(
    VisionTransformer(image_size=16, patch=8, width=64, layers=1, heads=1, features=FEATURES),
    TextTransformer(vocabulary=49408, context=LENGTH, width=FEATURES, layers=2, heads=1, features=FEATURES),
)


def prior() -> Shapes:
    """Of a PriorTransformer of two blocks with two heads."""
    yield "positional_embedding", (1, LENGTH + 4, WIDTH)
    yield "prd_embedding", (1, 1, WIDTH)
    yield "clip_mean", (1, FEATURES)
    yield "clip_std", (1, FEATURES)
    for name, inputs in (("time_embedding.linear_1", WIDTH), ("time_embedding.linear_2", WIDTH)):
        yield from _layer(name, WIDTH, inputs)
    for name in ("proj_in", "embedding_proj", "encoder_hidden_states_proj"):
        yield from _layer(name, WIDTH, FEATURES)
    for i in range(2):
        block = f"transformer_blocks.{i}"
        yield from _layer(f"{block}.norm1", WIDTH)
        yield from _layer(f"{block}.norm3", WIDTH)
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            yield from _layer(f"{block}.attn1.{name}", WIDTH, WIDTH)
        yield from _layer(f"{block}.ff.net.0.proj", 4 * WIDTH, WIDTH)
        yield from _layer(f"{block}.ff.net.2", WIDTH, 4 * WIDTH)
    yield from _layer("norm_out", WIDTH)
    yield from _layer("proj_to_clip_embeddings", FEATURES, WIDTH)


def text_proj(time: int) -> Shapes:
    """Of an UnCLIPTextProjModel."""
    yield "learned_classifier_free_guidance_embeddings", (FEATURES,)
    yield from _layer("embedding_proj", time, FEATURES)
    yield from _layer("clip_image_embeddings_project_to_time_embeddings", time, FEATURES)
    yield from _layer("clip_extra_context_tokens_proj", 4 * CROSS, FEATURES)
    yield from _layer("encoder_hidden_states_proj", CROSS, FEATURES)
    yield from _layer("text_encoder_hidden_states_norm", CROSS)


def _attention(name: str, channels: int) -> Shapes:
    yield from _layer(f"{name}.group_norm", channels)
    for own in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from _layer(f"{name}.{own}", channels, channels)
    for own in ("add_k_proj", "add_v_proj"):
        yield from _layer(f"{name}.{own}", channels, CROSS)


def unet(widths: tuple[int, ...], blocks: int, inputs: int, outputs: int, attends: int, scaled: bool) -> Shapes:
    """Of a UNet that resamples in residual blocks, the levels from `attends` on with attention, as the middle."""
    channels = widths[0]
    time = 4 * channels
    inside = functools.partial(_scaled, time=time) if scaled else functools.partial(_resnet, time=time)
    yield from _layer("conv_in", channels, inputs, 3, 3)
    yield from _layer("time_embedding.linear_1", time, channels)
    yield from _layer("time_embedding.linear_2", time, time)
    skips, h = [channels], channels
    for level, width in enumerate(widths):
        for i in range(blocks):
            yield from inside(f"down_blocks.{level}.resnets.{i}", h, width)
            if level >= attends:
                yield from _attention(f"down_blocks.{level}.attentions.{i}", width)
            h = width
            skips.append(h)
        if level < len(widths) - 1:
            yield from inside(f"down_blocks.{level}.downsamplers.0", h, h)
            skips.append(h)
    for i in range(2):
        yield from inside(f"mid_block.resnets.{i}", h, h)
    if attends < len(widths):
        yield from _attention("mid_block.attentions.0", h)
    for u, width in enumerate(reversed(widths)):
        for i in range(blocks + 1):
            yield from inside(f"up_blocks.{u}.resnets.{i}", h + skips.pop(), width)
            if len(widths) - 1 - u >= attends:
                yield from _attention(f"up_blocks.{u}.attentions.{i}", width)
            h = width
        if u < len(widths) - 1:
            yield from inside(f"up_blocks.{u}.upsamplers.0", h, h)
    yield from _layer("conv_norm_out", channels)
    yield from _layer("conv_out", outputs, channels, 3, 3)


def _scaled(name: str, inputs: int, outputs: int, time: int) -> Shapes:
    """A residual block whose norm is scaled and shifted."""
    for own, shape in _resnet(name, inputs, outputs, time):
        yield own, (2 * shape[0], *shape[1:]) if ".time_emb_proj." in own else shape


@functools.cache
def states() -> dict[str, dict[str, np.ndarray]]:
    """The tensors of each folder."""
    small = functools.partial(unet, (32, 64), 1, 6, 3, 2, False)
    towers = clip.state_of(clip.clip_of(clip.random_state(3, TOWERS)).params, clip.TRANSFORMERS)
    found = {
        "prior": filled(prior(), 1),
        "decoder": filled(unet((64, 128), 2, 3, 6, 1, True), 2),
        "text_proj": filled(text_proj(4 * 64), 3),
        "super_res_first": filled(small(), 4),
        "super_res_last": filled(small(), 5),
        "text_encoder": {n: np.asarray(t) for n, t in towers.items() if n.startswith(("text_model.", "text_proj"))},
        "image_encoder": {n: np.asarray(t) for n, t in towers.items() if n.startswith(("vision_", "visual_"))},
    }
    found["prior"]["clip_std"] = np.abs(found["prior"]["clip_std"]) + 0.1
    return found


_ADM = {"norm_num_groups": 32, "norm_eps": 1e-5, "act_fn": "silu", "flip_sin_to_cos": True, "freq_shift": 0}
_TOWER = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 1}
CONFIGS = {
    "prior": {"attention_head_dim": 64, "num_attention_heads": 2, "additional_embeddings": 4},
    "decoder": _ADM | {"attention_head_dim": 64, "sample_size": 8, "class_embed_type": "identity"},
    "text_proj": {"clip_extra_context_tokens": 4},
    "super_res_first": _ADM | {"add_attention": False, "sample_size": 16},
    "super_res_last": _ADM | {"add_attention": False, "sample_size": 16},
    "text_encoder": _TOWER,
    "image_encoder": _TOWER,
}


def write_diffusers(folder: Path, images: bool = True) -> None:
    """Writes the folder of the pipeline; `images`: with image_encoder/."""
    for name, tensors in states().items():
        if name == "image_encoder" and not images:
            continue
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(CONFIGS[name]))
        stem = "model" if name.endswith("encoder") else "diffusion_pytorch_model"
        save_file({own: np.array(t, order="C") for own, t in tensors.items()}, folder / name / f"{stem}.safetensors")
    scheduler = {"prediction_type": "epsilon", "variance_type": "learned_range", "num_train_timesteps": 1000}
    (folder / "decoder_scheduler").mkdir()
    (folder / "decoder_scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "UnCLIPPipeline"}))


def published(workdir: Path) -> dict[str, dict[str, np.ndarray]]:
    """Karlo's tensors of the stages of a converted workdir, by stage."""
    found = {}
    for stage in STAGES:
        network = build_network(load_config(workdir / stage))
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        found[stage] = to_theirs(load_params(workdir / stage, network.shapes(), device), table_of(network))
    return found


def write_karlo(folder: Path, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes Karlo's files of these tensors, with what Lightning has beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = {"global_step": 1_000_000, "pytorch-lightning_version": "1.7.7"}
    for stage, name in zip(STAGES[:2], (karlo.PRIOR, karlo.DECODER), strict=True):
        own = {f"model.{key}": tensor for key, tensor in state[stage].items()}
        (folder / name).write_bytes(pickle.dumps({"state_dict": own} | beside))
    (folder / karlo.UPSAMPLER).write_bytes(pickle.dumps({"state_dict": dict(state[STAGES[2]])} | beside))
    extra = {"input_resolution": np.array(16), "context_length": np.array(LENGTH), "vocab_size": np.array(49408)}
    (folder / karlo.CLIP).write_bytes(pickle.dumps(clip.random_state(3, TOWERS) | extra))
    pair = tuple(states()["prior"][name].reshape(-1) for name in ("clip_mean", "clip_std"))
    (folder / karlo.STATISTICS).write_bytes(pickle.dumps(pair))
