"""The other side of `stable_diffusion.py`: diffusers and transformers as published, in a Python of their own.

Run by `stable_diffusion.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

import diffusers
import numpy as np
import torch
import transformers
from answering import answer

MULT = {1: (1, 2, 4, 4), 2: (1, 2, 4, 4)}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
OFFSET = {"set_alpha_to_one": False, "steps_offset": 1}


def _networks(version: int) -> dict:
    """The three networks of a version, with few channels: its levels, blocks, heads and names."""
    channels, second = (32, 64)[version == 2], version == 2
    widths = tuple(channels * mult for mult in MULT[version])
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=widths,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=64,
        attention_head_dim=list(MULT[version]) if second else 8,
        use_linear_projection=second,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=64,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=1000,
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            hidden_act="gelu" if second else "quick_gelu",
            bos_token_id=998,
            eos_token_id=999,
        )
    )
    return {"unet": unet, "vae": vae, "text_encoder": text}


class Peer:
    """What is asked for, by name. Arrays come and go as .npy files; images and latents are (b, h, w, c) there."""

    def __init__(self):
        torch.set_num_threads(1)
        self._pipeline: diffusers.StableDiffusionPipeline

    def make(self, version: int, prediction: str, folder: str, seed: int) -> dict:
        """A random model of a version, saved by `save_pretrained` and loaded again from there."""
        torch.manual_seed(seed)
        networks = _networks(version)
        for network in networks.values():
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(0.05 * torch.randn_like(parameter))  # the layers that begin with zeros too
        scheduler = diffusers.PNDMScheduler(skip_prk_steps=True, prediction_type=prediction, **BETAS, **OFFSET)
        made = diffusers.StableDiffusionPipeline(
            **networks,
            tokenizer=None,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        made.save_pretrained(folder)
        self._pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, tokenizer=None, safety_checker=None)
        self._pipeline.set_progress_bar_config(disable=True)
        versions = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}
        return {"versions": versions}

    def outputs(self, given: str, out: str) -> dict:
        """Of each network alone."""
        arrays, pipe = np.load(given), self._pipeline
        with torch.no_grad():
            context = pipe.text_encoder(torch.from_numpy(arrays["tokens"]).long()).last_hidden_state
            predicted = pipe.unet(_first(arrays["latents"]), torch.from_numpy(arrays["levels"]), context).sample
            moments = pipe.vae.encode(_first(arrays["images"])).latent_dist.parameters
            decoded = pipe.vae.decode(_first(arrays["latents"])).sample
        np.savez(out, context=context, unet=_last(predicted), moments=_last(moments), decoded=_last(decoded))
        return {}

    def sample(self, given: str, out: str, scheduler: str, steps: int, scale: float) -> dict:
        """Latents of the whole pipeline, from given ones, eta 0."""
        arrays, pipe = np.load(given), self._pipeline
        kinds = {"ddim": diffusers.DDIMScheduler, "plms": diffusers.PNDMScheduler}
        more = {"clip_sample": False} if scheduler == "ddim" else {"skip_prk_steps": True}
        prediction = pipe.scheduler.config.prediction_type
        pipe.scheduler = kinds[scheduler](prediction_type=prediction, **BETAS, **OFFSET, **more)
        with torch.no_grad():
            encoded = [pipe.text_encoder(torch.from_numpy(arrays[n]).long()).last_hidden_state for n in _TEXTS]
            latents = pipe(
                prompt_embeds=encoded[0],
                negative_prompt_embeds=encoded[1],
                latents=_first(arrays["latents"]),
                num_inference_steps=steps,
                guidance_scale=scale,
                height=64,
                width=64,
                output_type="latent",
            ).images
        np.savez(out, latents=_last(latents))
        return {}


_TEXTS = ("tokens", "negative_tokens")


def _first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy())


def _last(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().transpose(0, 2, 3, 1)


if __name__ == "__main__":
    answer(Peer())
