"""Which networks a config can name, and the values that their arguments may have."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from score_jax.builder.options import Values
from score_jax.codecs.embeddings import CLIP
from score_jax.data.toys import swiss_roll
from score_jax.models.autoencoders.autoencoder import AutoencoderKL, AutoencoderVQ
from score_jax.models.blocks.adm_blocks import QKV_LAYOUTS
from score_jax.models.blocks.multiscale import MultiScaleNetwork
from score_jax.models.blocks.remat import REMAT_KINDS
from score_jax.models.classifiers.adm_classifier import POOLS, ADMClassifier
from score_jax.models.classifiers.wide_resnet import WideResNet
from score_jax.models.clip.clip import POOLS as TEXT_POOLS
from score_jax.models.clip.image_text import clip
from score_jax.models.conditioners.class_embedding import ClassEmbedder
from score_jax.models.conditioners.rescaler import SpatialRescaler
from score_jax.models.priors.autoregressive import AutoregressivePrior
from score_jax.models.priors.dalle2 import Dalle2Prior
from score_jax.models.priors.prior_transformer import PriorTransformer
from score_jax.models.text.bert import TextTransformer
from score_jax.models.text.clip_text import CLIPText
from score_jax.models.unets.adm import ADM, LOW_RES_FILTERS
from score_jax.models.unets.ddpm import DDPM
from score_jax.models.unets.dpm2015 import BitMLP, NormalisedRBF
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet
from score_jax.models.unets.karlo_upsampler import KarloUpsampler
from score_jax.models.unets.latent import LatentUNet
from score_jax.models.unets.ncsn import NCSN
from score_jax.models.unets.ncsnpp import NCSNpp
from score_jax.models.unets.ncsnv2 import NCSNv2
from score_jax.models.unets.unclip import UnCLIPDecoder

AUTOENCODERS = {"autoencoder_kl": AutoencoderKL, "autoencoder_vq": AutoencoderVQ}
"""First stages, which are trained without a process."""
WITHOUT_PROCESS = (*AUTOENCODERS, CLIP)
"""Those, and the network of images and texts."""
NETWORKS: dict[str, Callable[..., Any]] = {
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "adm": ADM,
    "adm_classifier": ADMClassifier,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "wide_resnet": WideResNet,
    "edm_song": SongUNet,
    "edm_dhariwal": DhariwalUNet,
    "rbf": NormalisedRBF,
    "bit_mlp": BitMLP,
    "multiscale": MultiScaleNetwork,
    "latent_unet": LatentUNet,
    "prior_transformer": PriorTransformer,
    "dalle2_prior": Dalle2Prior,
    "autoregressive_prior": AutoregressivePrior,
    "unclip_decoder": UnCLIPDecoder,
    "karlo_upsampler": KarloUpsampler,
    **AUTOENCODERS,
    CLIP: clip,
}
FROM_OTHERS = ("centered", "levels", "image_size", "components", "buckets", "alignments")
"""Arguments that other sections say: the codec, the process and the data."""
ENCODERS: dict[str, Callable[..., Any]] = {
    "class_embedding": ClassEmbedder,
    "text_transformer": TextTransformer,
    "clip_text": CLIPText,
    "rescaler": SpatialRescaler,
}
"""Networks that make a condition of another network, for the section `condition_encoder`."""
NOT_TRAINED = ("clip_text",)
"""Those of `ENCODERS` whose published weights are kept as they are."""
OF_KERNELS = ("rbf", "bit_mlp", "multiscale")
"""Networks that say what a reverse kernel is; the others predict noise, data or the score, or classify."""
OF_CODES = ("autoregressive_prior",)
"""Networks that say how likely each value of a code is."""
CENTRES = {"normal": jax.nn.initializers.normal(1.0), "swiss_roll": lambda key, shape: swiss_roll(key, shape[0])}
"""From what the centres of basis functions are drawn."""
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: the type of parameters and input, float64 under x64.
CHOICES: dict[str, dict[str, Any]] = {"dtype": DTYPES, "centres": CENTRES}
"""Of arguments whose text stands for something, what."""
_COUNT = Values(least=1)
VALUES = {
    **dict.fromkeys(
        ("channels", "num_heads", "num_head_channels", "num_levels", "num_res_blocks", "channel_mult_emb"), _COUNT
    ),
    **dict.fromkeys(("fourier_scale", "channel_mult_noise"), Values(above=0.0)),
    **dict.fromkeys(("attention_resolutions", "augment_dim", "num_classes", "num_heads_upsample"), Values(least=0)),
    "channel_mult": Values(above=0.0, filled=True),
    **dict.fromkeys(("dropout", "label_dropout"), Values(least=0.0, below=1.0)),
    **dict.fromkeys(("fir_taps", "resample_filter"), Values(filled=True)),
    **dict.fromkeys(("blocks_per_group", "widen_factor"), _COUNT),
    **dict.fromkeys(("init_scale", "linear_scale"), Values(least=0.0)),
    "remat": Values(one_of=REMAT_KINDS),
    "pool": Values(one_of=POOLS),
    "qkv_layout": Values(one_of=tuple(QKV_LAYOUTS)),
    "low_res_filter": Values(one_of=tuple(LOW_RES_FILTERS)),
    **dict.fromkeys(("units", "scales", "dense_outputs", "norm_groups"), _COUNT),
    **dict.fromkeys(("latent_channels", "embed_channels", "image_channels", "codebook_size", "out_channels"), _COUNT),
    **dict.fromkeys(("context_length", "transformer_depth"), _COUNT),
    **dict.fromkeys(("vocabulary", "length", "layers", "heads", "head_width"), _COUNT),
    **dict.fromkeys(("attention_factors", "stages"), _COUNT),
    **dict.fromkeys(("context_width", "concat_channels", "text_length"), Values(least=0)),
    **dict.fromkeys(("image_features", "extra_tokens", "text_features"), Values(least=0)),
    **dict.fromkeys(("num_timesteps", "time_tokens", "image_tokens", "text_tokens", "mlp_ratio"), _COUNT),
    "bumps": Values(least=2),
    **dict.fromkeys(("width", "bump_width"), Values(above=0.0)),
    **dict.fromkeys(("features", "dense", "upper"), _COUNT),
    "stem": Values(least=0),
    **dict.fromkeys(("image_size", "patch", "text_width", "text_layers", "text_heads"), _COUNT),
    "text_pool": Values(one_of=tuple(TEXT_POOLS)),
}
"""Values that arguments of networks may have; those of other texts the networks check."""
