"""The other side of `karlo.py`: diffusers' UnCLIPPipeline as published, in a Python of its own.

Run by `karlo.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

import types

import diffusers
import numpy as np
import torch
import transformers
from answering import answer
from diffusers.pipelines.deprecated.unclip import pipeline_unclip, text_proj
from diffusers.schedulers import scheduling_unclip

FEATURES, SIZES = 64, (16, 32)
STAGES = ("prior", "decoder", "upsampler")
_ADM = {"norm_eps": 1e-5, "act_fn": "silu", "in_channels": 3}


def _decoder() -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(
        **_ADM,
        sample_size=SIZES[0],
        out_channels=6,
        block_out_channels=(64, 128),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        layers_per_block=2,
        attention_head_dim=64,
        cross_attention_dim=96,
        class_embed_type="identity",
        resnet_time_scale_shift="scale_shift",
    )


def _upsampler() -> diffusers.UNet2DModel:
    return diffusers.UNet2DModel(
        **_ADM | {"in_channels": 6},
        sample_size=SIZES[1],
        out_channels=3,
        block_out_channels=(32, 64),
        down_block_types=("ResnetDownsampleBlock2D",) * 2,
        up_block_types=("ResnetUpsampleBlock2D",) * 2,
        layers_per_block=1,
        add_attention=False,
    )


def _networks() -> dict:
    """All networks of the pipeline, with few channels: their kinds of blocks, levels, heads and names."""
    text = transformers.CLIPTextConfig(
        vocab_size=49408,
        hidden_size=FEATURES,
        intermediate_size=4 * FEATURES,
        projection_dim=FEATURES,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
    )
    prior = diffusers.PriorTransformer(
        num_attention_heads=2, attention_head_dim=64, num_layers=2, embedding_dim=FEATURES, num_embeddings=77
    )
    return {
        "prior": prior,
        "decoder": _decoder(),
        "text_proj": text_proj.UnCLIPTextProjModel(
            clip_embeddings_dim=FEATURES, time_embed_dim=256, cross_attention_dim=96
        ),
        "text_encoder": transformers.CLIPTextModelWithProjection(text),
        "super_res_first": _upsampler(),
        "super_res_last": _upsampler(),
    }


def _schedulers() -> dict:
    """Karlo's three; x0 of the prior is held within 10, as Karlo's own code holds it."""
    small = {"variance_type": "fixed_small_log", "num_train_timesteps": 1000}
    return {
        "prior_scheduler": diffusers.UnCLIPScheduler(**small, prediction_type="sample", clip_sample_range=10.0),
        "decoder_scheduler": diffusers.UnCLIPScheduler(variance_type="learned_range", prediction_type="epsilon"),
        "super_res_scheduler": diffusers.UnCLIPScheduler(**small, prediction_type="epsilon"),
    }


def _exact(scheduler: diffusers.UnCLIPScheduler) -> None:
    """Gives a scheduler the tables that it has, but in float64.

    In float32 the last of them are off by 5e-4: what is left of an x0 of 1 after the last step is 0.9995.
    """
    times = np.arange(1001) / 1000
    levels = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - levels[1:] / levels[:-1], 0.999)
    assert np.allclose(scheduler.betas, betas, rtol=1e-3), "another schedule"
    scheduler.betas, scheduler.alphas = torch.from_numpy(betas), torch.from_numpy(1 - betas)
    scheduler.alphas_cumprod = torch.from_numpy(np.cumprod(1 - betas))


class _Tokenizer:
    """Ids that it has been given, for the texts "" and others."""

    model_max_length = 77

    def __init__(self, prompt: np.ndarray, empty: np.ndarray):
        self._ids = {False: prompt, True: empty}

    def __call__(self, texts, **_):
        ids = torch.from_numpy(np.stack([self._ids[not text] for text in texts])).long()
        ends = (ids == 49407).int().argmax(dim=1, keepdim=True)
        return types.SimpleNamespace(input_ids=ids, attention_mask=(torch.arange(77)[None] <= ends).long())


class Peer:
    """What is asked for, by name. Arrays come and go as .npz files; images are (b, h, w, c) there."""

    def __init__(self):
        torch.set_num_threads(1)
        self._pipeline: pipeline_unclip.UnCLIPPipeline

    def make(self, folder: str, seed: int) -> dict:
        """A random stack, saved by `save_pretrained`; this release cannot load its text_proj/ again."""
        torch.manual_seed(seed)
        networks = _networks()
        with torch.no_grad():
            for network in networks.values():
                for parameter in network.parameters():
                    parameter.add_(0.01 * torch.randn_like(parameter))  # the layers that begin with zeros too
            networks["prior"].clip_std.copy_(0.3 + torch.rand_like(networks["prior"].clip_std))
        made = pipeline_unclip.UnCLIPPipeline(**networks, **_schedulers(), tokenizer=None)
        made.save_pretrained(folder)
        for scheduler in (made.prior_scheduler, made.decoder_scheduler, made.super_res_scheduler):
            _exact(scheduler)
        self._pipeline = made
        self._pipeline.set_progress_bar_config(disable=True)
        return {"versions": {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}}

    def draw(self, given: str, out: str, steps: list[int], scales: list[float]) -> dict:
        """Images from ids, the three initial states, and the noise of each stage's steps."""
        arrays, pipe = dict(np.load(given)), self._pipeline
        pipe.tokenizer = _Tokenizer(arrays["prompt"], arrays["empty"])
        draws = [_first(each) for stage in STAGES for each in arrays[f"{stage}_noise"]]
        taken, ends = iter(draws), {}
        schedulers = (pipe.prior_scheduler, pipe.decoder_scheduler, pipe.super_res_scheduler)
        for stage, scheduler in zip(STAGES, schedulers, strict=True):
            scheduler.step = _noting(type(scheduler).step.__get__(scheduler), stage, ends)
        scheduling_unclip.randn_tensor = lambda shape, **_: next(taken).reshape(shape)
        with torch.no_grad():
            images = pipe(
                ["a text"] * len(arrays["prior_start"]),
                prior_num_inference_steps=steps[0],
                decoder_num_inference_steps=steps[1],
                super_res_num_inference_steps=steps[2],
                prior_latents=_first(arrays["prior_start"]).flatten(1),
                decoder_latents=_first(arrays["decoder_start"]),
                super_res_latents=_first(arrays["upsampler_start"]),
                prior_guidance_scale=scales[0],
                decoder_guidance_scale=scales[1],
                output_type="np",
            ).images
        assert next(taken, None) is None, "not all of the noise was used"
        last = {stage: state if state.ndim == 2 else state.permute(0, 2, 3, 1) for stage, state in ends.items()}
        np.savez(out, images=np.asarray(images), **{stage: state.numpy() for stage, state in last.items()})
        return {}


def _noting(step, stage: str, ends: dict):
    """A scheduler's step, whose last state is noted in `ends`."""

    def noting(*args, **kwargs):
        result = step(*args, **kwargs)
        ends[stage] = result.prev_sample
        return result

    return noting


def _first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy())


if __name__ == "__main__":
    answer(Peer())
