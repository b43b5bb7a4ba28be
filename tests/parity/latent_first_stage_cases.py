"""Cases of latent diffusion's first stages: autoencoders, the discriminator, and the losses of both."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from originals import UnknownCase
from score_jax.convert import first_stage as weights
from score_jax.convert.correspondence import to_ours, to_theirs
from score_jax.losses import adversarial, first_stage
from score_jax.models.autoencoders.autoencoder import Autoencoder, AutoencoderKL, AutoencoderVQ
from score_jax.models.autoencoders.posterior import posterior_of
from score_jax.models.autoencoders.quantizer import usage
from score_jax.models.blocks.cpu_convolution import conv_general_dilated
from score_jax.models.discriminators.patch import PatchDiscriminator

_NHWC, _NCHW = "b c h w -> b h w c", "b h w c -> b c h w"
_CONV = "o i h w -> h w i o"
_DDCONFIG = {
    "double_z",
    "z_channels",
    "resolution",
    "in_channels",
    "out_ch",
    "ch",
    "ch_mult",
    "num_res_blocks",
    "attn_resolutions",
    "dropout",
    "resamp_with_conv",
    "attn_type",
}
_BOTH_LOSSES = {
    "disc_start": None,
    "disc_num_layers": 3,
    "disc_in_channels": 3,
    "disc_factor": 1.0,
    "disc_weight": 1.0,
    "perceptual_weight": 1.0,
    "pixelloss_weight": 1.0,
    "disc_conditional": False,
    "disc_loss": "hinge",
    "use_actnorm": False,
}
_LOSSES = {
    "KL": _BOTH_LOSSES | {"logvar_init": 0.0, "kl_weight": 1.0},
    "VQ": _BOTH_LOSSES
    | {"codebook_weight": 1.0, "disc_ndf": 64, "n_classes": None, "perceptual_loss": "lpips", "pixel_loss": "l1"},
}


def _given(file, dtype) -> dict[str, jax.Array]:
    """The inputs in our layout."""
    values = {name: rearrange(a, _NHWC) if a.ndim == 4 else a for name, a in file.group("in").items()}
    return {name: jnp.asarray(a, dtype if a.dtype.kind == "f" else None) for name, a in values.items()}


def _asked_for(file, found: dict[str, Any]) -> dict[str, np.ndarray]:
    """What the file has of our results, in its layout."""
    return {
        name: rearrange(np.asarray(a), _NCHW) if np.ndim(a) == 4 else np.asarray(a)
        for name, a in found.items()
        if name in file.arrays
    }


def _known(values: dict[str, Any], known) -> None:
    if set(values) - set(known):
        raise UnknownCase(f"settings {sorted(set(values) - set(known))}")


def _fields(file) -> dict[str, Any]:
    """Of an autoencoder: nominal resolutions with attention become the downsampling factors of their levels."""
    config = file.meta["config"]
    _known(config, {"ddconfig", "embed_dim", "n_embed"})
    dd = config["ddconfig"]
    _known(dd, _DDCONFIG)
    attention, levels = dd.get("attn_type", "vanilla"), range(len(dd["ch_mult"]))
    if attention not in ("vanilla", "none") or dd["in_channels"] != dd["out_ch"]:
        raise UnknownCase(f"attention {attention}, {dd['in_channels']} channels in and {dd['out_ch']} out")
    factors = tuple(2**i for i in levels if dd["resolution"] // 2**i in dd["attn_resolutions"])
    return {
        "channel_mult": tuple(dd["ch_mult"]),
        "latent_channels": dd["z_channels"],
        "embed_channels": config["embed_dim"],
        "channels": dd["ch"],
        "num_res_blocks": dd["num_res_blocks"],
        "attention_factors": factors if attention == "vanilla" else (),
        "middle_attention": attention == "vanilla",
        "image_channels": dd["in_channels"],
        "resample_with_conv": dd.get("resamp_with_conv", True),
        "dropout": dd.get("dropout", 0.0),
    }


def _params(file, network: Autoencoder, x: jax.Array) -> Any:
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    ours = to_ours(file.group("params"), shapes, weights.table, buffers=r"loss\.")
    return jax.tree.map(lambda a: jnp.asarray(a, x.dtype), ours)


def run_kl(file, dtype):
    """The autoencoder with a posterior."""
    given, network = _given(file, dtype), AutoencoderKL(**_fields(file))
    params = _params(file, network, given["x"])

    @jax.jit
    def run(params, given):
        def apply(method, *args):
            return network.apply({"params": params}, *args, method=method)

        moments = apply("encode", given["x"])
        posterior = posterior_of(moments)
        return {
            "out/enc_features": apply(lambda module, x: module.encoder(x, False), given["x"]),
            "out/moments": moments,
            "out/mode": posterior.mode,
            "out/logvar": posterior.log_var,
            "out/std": posterior.std,
            "out/sample": posterior.draw(given["noise"]),
            "out/kl": posterior.kl(),
            "out/nll": posterior.nll(given["nll_sample"]),
            "out/decode": apply("decode", given["z"]),
            "out/reconstruct_mode": apply("__call__", given["x"]),
        }

    return _asked_for(file, run(params, given))


def run_vq(file, dtype):
    """The autoencoder with a codebook."""
    given, fields = _given(file, dtype), _fields(file)
    network = AutoencoderVQ(**fields, codebook_size=file.meta["config"]["n_embed"])
    params = _params(file, network, given["x"])

    @jax.jit
    def run(params, given):
        def apply(method, *args, codebook=params["codebook"], **kwargs):
            return network.apply({"params": params | {"codebook": codebook}}, *args, **kwargs, method=method)

        def with_cotangent(codebook, z):
            quantized = apply("quantize", z, codebook=codebook)
            return jnp.mean(quantized.loss) + jnp.sum(given["cotangent"] * quantized.values)

        def of_loss(codebook, z):
            return jnp.mean(apply("quantize", z, codebook=codebook, legacy=False).loss)

        latent, z = apply("encode", given["x"]), given["z"]
        encoded, quantized = apply("quantize", latent), apply("quantize", z)
        gradients = jax.grad(with_cotangent, (0, 1))(params["codebook"], z)
        others = jax.grad(of_loss, (0, 1))(params["codebook"], z)
        return {
            "out/encode_prequant": latent,
            "out/encode_quant": encoded.values,
            "out/encode_indices": encoded.indices.reshape(-1),
            "out/quant": quantized.values,
            "out/indices": quantized.indices.reshape(-1),
            "out/quant_loss": jnp.mean(quantized.loss),
            "out/quant_loss_nonlegacy": of_loss(params["codebook"], z),
            "out/codebook_entry": apply("entries", given["codes"]),
            "out/decode": apply("decode", quantized.values),
            "out/decode_force_not_quantize": apply("decode", z),
            **dict(zip(("grad/codebook", "grad/z"), gradients, strict=True)),
            **dict(zip(("grad/codebook_nonlegacy_loss_only", "grad/z_nonlegacy_loss_only"), others, strict=True)),
        }

    return _asked_for(file, run(params, given))


def _discriminator(state, network: PatchDiscriminator, x: jax.Array) -> Any:
    """Parameters and running statistics."""
    shapes = jax.eval_shape(lambda key, x: network.init(key, x, True), jax.random.key(0), x)
    ours = to_ours(state, shapes, weights.discriminator_table(network), buffers=weights.DISCRIMINATOR_BUFFERS)
    return jax.tree.map(lambda a: jnp.asarray(a, x.dtype), ours)


def run_discriminator(file, dtype):
    """Both modes, the statistics after training, and the losses on given logits."""
    given, settings = _given(file, dtype), file.meta["config"]["kw"]
    _known(settings, {"input_nc", "ndf", "n_layers"})
    network = PatchDiscriminator(settings.get("ndf", 64), settings.get("n_layers", 3))
    variables = _discriminator(file.group("params"), network, given["x"])

    @jax.jit
    def run(variables, given):
        trained, moved = network.apply(variables, given["x"], True, mutable=["batch_stats"])
        logits = given["logits_real"], given["logits_fake"]
        hinge = adversarial.hinge(*logits)
        return moved, {
            "out/eval": network.apply(variables, given["x"], False),
            "out/train": trained,
            "out/hinge": jnp.mean(hinge),
            "out/hinge_exemplar_weights": jnp.mean(adversarial.weighted(hinge, given["weights"])),
            "out/vanilla": jnp.mean(adversarial.vanilla(*logits)),
        }

    moved, found = run(variables, given)
    after = to_theirs(moved, weights.discriminator_table(network))
    return _asked_for(file, found) | {f"out/after_{name}": value for name, value in after.items()}


def _stand_in(x: jax.Array, y: jax.Array) -> jax.Array:
    """What these files have in the place of LPIPS."""
    return jnp.mean(jnp.square(x - y) * (1 + 0.25 * jnp.sin(3 * x)), axis=(1, 2, 3))


def run_losses(file, dtype):
    """What the loss modules log in both of their passes, and gradients of the loss."""
    config = file.meta["config"]
    _known(config, {"cls", "kw", "feat", "global_steps", "train_mode"})
    defaults = _LOSSES[config["cls"]]
    _known(config["kw"], defaults)
    settings = defaults | config["kw"]
    if settings["use_actnorm"] or settings.get("perceptual_loss", "lpips") != "lpips":
        raise UnknownCase("another norm, or another perceptual loss")
    given, state = _given(file, dtype), file.group("params")
    prefix = "loss.discriminator."
    of_discriminator = {name.removeprefix(prefix): a for name, a in state.items() if name.startswith(prefix)}
    network = PatchDiscriminator(settings.get("disc_ndf", 64), settings["disc_num_layers"])
    first = {"last": jnp.asarray(rearrange(state["last_layer.weight"], _CONV), dtype)}
    if "loss.logvar" in state:
        first["logvar"] = jnp.asarray(state["loss.logvar"], dtype)
    shown = _judged(settings, given, given["x"])
    second = _discriminator(of_discriminator, network, shown)
    bias = jnp.asarray(state["last_layer.bias"], dtype)

    def judge(variables, images):
        shown = _judged(settings, given, images)
        return (
            network.apply(variables, shown, True, mutable=["batch_stats"])[0]
            if config["train_mode"]
            else (network.apply(variables, shown, False))
        )

    def reconstruct(last):
        return conv_general_dilated(given["features"], last, (1, 1), ((1, 1), (1, 1))) + bias

    found = {"out/reconstructions": reconstruct(first["last"])}
    for step in config["global_steps"]:
        losses = _Losses(settings, config["cls"], given, reconstruct, judge, step)
        (loss, entries), gradient = jax.jit(jax.value_and_grad(losses.first, has_aux=True))(first, second)
        found |= {f"out/step{step}_opt0_{name}": a for name, a in (entries | {"loss": loss}).items()}
        found[f"grad/step{step}_last_layer"] = rearrange(gradient["last"], "h w i o -> o h w i")
        found[f"grad/step{step}_logvar"] = gradient.get("logvar")
        (loss, entries), gradient = jax.jit(jax.value_and_grad(losses.second, has_aux=True))(second, first)
        found |= {f"out/step{step}_opt1_{name}": a for name, a in (entries | {"loss": loss}).items()}
        for name, module in (("first", "conv_in"), ("last", "conv_out")):
            kernel = gradient["params"][module]["kernel"]
            found[f"grad/step{step}_disc_{name}_conv"] = rearrange(kernel, "h w i o -> o h w i")
    return _asked_for(file, found)


def _judged(settings, given, images):
    """What the discriminator sees: images, and a condition behind them where it has one."""
    if settings["disc_conditional"] and "cond" not in given:
        raise UnknownCase("a discriminator with a condition that the file does not name in/cond")
    return jnp.concatenate([images, given["cond"]], axis=-1) if settings["disc_conditional"] else images


class _Losses:
    """Both passes at a step, as functions of the parameters: (loss, what is logged)."""

    def __init__(self, settings, kind, given, reconstruct, judge, step):
        self.settings, self.kind, self.given = settings, kind, given
        self.reconstruct, self.judge = reconstruct, judge
        self.factor = adversarial.factor_at(step, settings["disc_start"], settings["disc_factor"])

    def first(self, params, discriminator):
        """The autoencoder's."""
        given, settings = self.given, self.settings

        def generator(last):
            return jnp.mean(adversarial.generator(self.judge(discriminator, self.reconstruct(last))))

        def nll(last):
            return jnp.mean(self._nll(self._errors(last)[0], params))

        errors, perceptual = self._errors(params["last"])
        unweighted, adversarial_loss = nll(params["last"]), generator(params["last"])
        balance = adversarial.adaptive_weight(
            jax.grad(nll)(params["last"]), jax.grad(generator)(params["last"]), settings["disc_weight"]
        )
        if self.kind == "KL" and settings["disc_factor"] <= 0:
            balance = jnp.zeros_like(balance)
        loss = balance * self.factor * adversarial_loss
        entries = {
            "nll_loss": unweighted,
            "rec_loss": jnp.mean(errors),
            "d_weight": balance,
            "disc_factor": self.factor,
            "g_loss": adversarial_loss,
        }
        if self.kind == "KL":
            kl = jnp.mean(posterior_of(given["moments"]).kl())
            example_weights = given["weights"].reshape(-1) if "weights" in given else None
            loss += jnp.mean(self._nll(errors, params, example_weights)) + settings["kl_weight"] * kl
            entries |= {"kl_loss": kl, "logvar": params["logvar"]}
        else:
            of_codebook = jnp.mean(given["codebook_loss"])
            loss += unweighted + settings["codebook_weight"] * of_codebook
            entries |= {"quant_loss": of_codebook, "p_loss": jnp.mean(perceptual)}
        if "indices" in given:
            entries["perplexity"], entries["cluster_usage"] = usage(given["indices"], settings["n_classes"])
        return loss, entries | {"total_loss": loss}

    def second(self, discriminator, params):
        """The discriminator's."""
        fake, real = (self.judge(discriminator, x) for x in (self.reconstruct(params["last"]), self.given["x"]))
        loss = self.factor * jnp.mean(adversarial.DISCRIMINATOR_LOSSES[self.settings["disc_loss"]](real, fake))
        return loss, {"disc_loss": loss, "logits_real": jnp.mean(real), "logits_fake": jnp.mean(fake)}

    def _errors(self, last):
        x, y = self.given["x"], self.reconstruct(last)
        weight = self.settings["perceptual_weight"]
        perceptual = _stand_in(x, y) if weight > 0 else jnp.zeros(len(x), x.dtype)
        kind = self.settings.get("pixel_loss", "l1")
        return first_stage.errors(x, y, perceptual, kind=kind, perceptual_weight=weight), perceptual

    def _nll(self, errors, params, example_weights=None):
        if self.kind == "VQ":
            return first_stage.mean_nll(errors)
        return first_stage.summed_nll(errors, params["logvar"], example_weights)


HANDLERS = {
    ("latent_diffusion", "ae_kl"): run_kl,
    ("latent_diffusion", "ae_vq"): run_vq,
    ("latent_diffusion", "discriminator"): run_discriminator,
    ("latent_diffusion", "gan_loss"): run_losses,
}
