"""Folders as diffusers writes them, of Stable Diffusion with few channels: names and shapes listed by its rules."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

Shapes = Iterator[tuple[str, tuple[int, ...]]]
MULT = (1, 2, 4, 4)
VAE_MULT = (1, 2, 4, 4)
CONTEXT, LENGTH, VOCABULARY = 64, 77, 50


def _layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def _resnet(name: str, inputs: int, outputs: int, time: int | None) -> Shapes:
    yield from _layer(f"{name}.norm1", inputs)
    yield from _layer(f"{name}.conv1", outputs, inputs, 3, 3)
    if time:
        yield from _layer(f"{name}.time_emb_proj", outputs, time)
    yield from _layer(f"{name}.norm2", outputs)
    yield from _layer(f"{name}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _layer(f"{name}.conv_shortcut", outputs, inputs, 1, 1)


def _transformer(name: str, channels: int, linear: bool) -> Shapes:
    yield from _layer(f"{name}.norm", channels)
    for projection in ("proj_in", "proj_out"):
        yield from _layer(f"{name}.{projection}", channels, channels, *(() if linear else (1, 1)))
    block = f"{name}.transformer_blocks.0"
    for number, width in ((1, channels), (2, CONTEXT)):
        yield from _layer(f"{block}.attn{number}.to_q", channels, channels, bias=False)
        yield from _layer(f"{block}.attn{number}.to_k", channels, width, bias=False)
        yield from _layer(f"{block}.attn{number}.to_v", channels, width, bias=False)
        yield from _layer(f"{block}.attn{number}.to_out.0", channels, channels)
    yield from _layer(f"{block}.ff.net.0.proj", 8 * channels, channels)
    yield from _layer(f"{block}.ff.net.2", channels, 4 * channels)
    for number in (1, 2, 3):
        yield from _layer(f"{block}.norm{number}", channels)


def unet(channels: int, linear: bool, inputs: int = 4) -> Shapes:
    """Of a UNet2DConditionModel of four levels with two blocks, the lowest level without attention."""
    time, widths = 4 * channels, [channels * mult for mult in MULT]
    yield from _layer("conv_in", channels, inputs, 3, 3)
    yield from _layer("time_embedding.linear_1", time, channels)
    yield from _layer("time_embedding.linear_2", time, time)
    skips, h = [channels], channels
    for level, width in enumerate(widths):
        for i in range(2):
            yield from _resnet(f"down_blocks.{level}.resnets.{i}", h, width, time)
            if level < 3:
                yield from _transformer(f"down_blocks.{level}.attentions.{i}", width, linear)
            h = width
            skips.append(h)
        if level < 3:
            yield from _layer(f"down_blocks.{level}.downsamplers.0.conv", h, h, 3, 3)
            skips.append(h)
    for i in range(2):
        yield from _resnet(f"mid_block.resnets.{i}", h, h, time)
    yield from _transformer("mid_block.attentions.0", h, linear)
    for level, width in enumerate(reversed(widths)):
        for i in range(3):
            yield from _resnet(f"up_blocks.{level}.resnets.{i}", h + skips.pop(), width, time)
            if level:
                yield from _transformer(f"up_blocks.{level}.attentions.{i}", width, linear)
            h = width
        if level < 3:
            yield from _layer(f"up_blocks.{level}.upsamplers.0.conv", h, h, 3, 3)
    yield from _layer("conv_norm_out", channels)
    yield from _layer("conv_out", 4, channels, 3, 3)


def _vae_middle(part: str, channels: int, old: bool) -> Shapes:
    for i in range(2):
        yield from _resnet(f"{part}.mid_block.resnets.{i}", channels, channels, None)
    attention = f"{part}.mid_block.attentions.0"
    yield from _layer(f"{attention}.group_norm", channels)
    for name in ("query", "key", "value", "proj_attn") if old else ("to_q", "to_k", "to_v", "to_out.0"):
        yield from _layer(f"{attention}.{name}", channels, channels)


def vae(channels: int, old: bool) -> Shapes:
    """Of an AutoencoderKL of four levels, `old`: with the earlier names of its attention."""
    widths = [channels * mult for mult in VAE_MULT]
    yield from _layer("encoder.conv_in", channels, 3, 3, 3)
    h = channels
    for level, width in enumerate(widths):
        for i in range(2):
            yield from _resnet(f"encoder.down_blocks.{level}.resnets.{i}", h, width, None)
            h = width
        if level < 3:
            yield from _layer(f"encoder.down_blocks.{level}.downsamplers.0.conv", h, h, 3, 3)
    yield from _vae_middle("encoder", h, old)
    yield from _layer("encoder.conv_norm_out", h)
    yield from _layer("encoder.conv_out", 8, h, 3, 3)
    yield from _layer("quant_conv", 8, 8, 1, 1)
    yield from _layer("post_quant_conv", 4, 4, 1, 1)
    yield from _layer("decoder.conv_in", h, 4, 3, 3)
    yield from _vae_middle("decoder", h, old)
    for level, width in enumerate(reversed(widths)):
        for i in range(3):
            yield from _resnet(f"decoder.up_blocks.{level}.resnets.{i}", h, width, None)
            h = width
        if level < 3:
            yield from _layer(f"decoder.up_blocks.{level}.upsamplers.0.conv", h, h, 3, 3)
    yield from _layer("decoder.conv_norm_out", h)
    yield from _layer("decoder.conv_out", 3, h, 3, 3)


def text(layers: int, prefix: str) -> Shapes:
    """Of a CLIPTextModel."""
    yield f"{prefix}embeddings.token_embedding.weight", (VOCABULARY, CONTEXT)
    yield f"{prefix}embeddings.position_embedding.weight", (LENGTH, CONTEXT)
    for i in range(layers):
        block = f"{prefix}encoder.layers.{i}"
        for name in "qkv":
            yield from _layer(f"{block}.self_attn.{name}_proj", CONTEXT, CONTEXT)
        yield from _layer(f"{block}.self_attn.out_proj", CONTEXT, CONTEXT)
        yield from _layer(f"{block}.layer_norm1", CONTEXT)
        yield from _layer(f"{block}.layer_norm2", CONTEXT)
        yield from _layer(f"{block}.mlp.fc1", 4 * CONTEXT, CONTEXT)
        yield from _layer(f"{block}.mlp.fc2", CONTEXT, 4 * CONTEXT)
    yield from _layer(f"{prefix}final_layer_norm", CONTEXT)


def filled(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Random tensors."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes}


def states(version: int) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of each folder; version 1 with the names of earlier files."""
    second = version == 2
    state = {
        "unet": filled(unet(64 if second else 32, second), 1),
        "vae": filled(vae(32, old=not second), 2),
        "text_encoder": filled(text(2, "" if second else "text_model."), 3),
    }
    if not second:
        state["text_encoder"]["text_model.embeddings.position_ids"] = np.arange(LENGTH)[None]
    return state


def write_folder(folder: Path, version: int, prediction: str = "epsilon") -> dict[str, dict[str, np.ndarray]]:
    """Writes a folder, and returns its tensors."""
    second, state = version == 2, states(version)
    channels = 64 if second else 32
    configs = {
        "unet/config": {
            "_class_name": "UNet2DConditionModel",
            "block_out_channels": [channels * mult for mult in MULT],
            "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
            "layers_per_block": 2,
            "attention_head_dim": [1, 2, 4, 4] if second else 8,
            "cross_attention_dim": CONTEXT,
            "in_channels": 4,
            "out_channels": 4,
            "sample_size": 8,
            **({"use_linear_projection": True} if second else {}),
        },
        "vae/config": {
            "_class_name": "AutoencoderKL",
            "block_out_channels": [32 * mult for mult in VAE_MULT],
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "in_channels": 3,
            "out_channels": 3,
            **({"scaling_factor": 0.25} if second else {}),
        },
        "text_encoder/config": {
            "vocab_size": VOCABULARY,
            "hidden_size": CONTEXT,
            "intermediate_size": 4 * CONTEXT,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": LENGTH,
            "hidden_act": "gelu" if second else "quick_gelu",
        },
        "scheduler/scheduler_config": {
            "_class_name": "PNDMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "set_alpha_to_one": False,
            "steps_offset": 1,
            **({"prediction_type": prediction} if prediction != "epsilon" else {}),
        },
    }
    for name, config in configs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(config))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    for part, tensors in state.items():
        save_file(tensors, folder / part / FILES[part])
    return state


FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
