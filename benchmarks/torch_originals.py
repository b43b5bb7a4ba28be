"""The other side of `train_step.py`, `samplers.py`, `likelihood.py`: clones of the original code, in their own Python.

    python benchmarks/torch_originals.py CLONE [CLONE ...]

CLONE is a clone of yang-song/score_sde_pytorch or of openai/guided-diffusion, told apart by what is in it. Reads one
JSON request a line and answers with one. Imports nothing of this library; nothing of the clones is copied.
"""

import contextlib
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
from answering import answer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class ScoreSDE:
    """NCSN++ continuous under VE on CIFAR-10, as its config says."""

    marker = "sde_lib.py"

    def __init__(self):
        # The FIR filters have a version without CUDA, but the compiler is asked for at import.
        torch.utils.cpp_extension = sys.modules["torch.utils.cpp_extension"] = MagicMock()
        import likelihood
        import losses
        import sampling
        import sde_lib
        from models import ncsnpp
        from models.ema import ExponentialMovingAverage

        from score_jax.configs.ve import cifar10_ncsnpp_continuous

        self.config = cifar10_ncsnpp_continuous.get_config()
        self.config.device = DEVICE
        self._sampling, self._sde_lib, self._likelihood = sampling, sde_lib, likelihood
        self.model = ncsnpp.NCSNpp(self.config).to(DEVICE)
        _move(self.model)
        sde = sde_lib.VESDE(sigma_min=0.01, sigma_max=50, N=1000)
        parameters = self.model.parameters()
        optimizer = losses.get_optimizer(self.config, parameters)
        ema = ExponentialMovingAverage(self.model.parameters(), decay=self.config.model.ema_rate)
        self._state = {"optimizer": optimizer, "model": self.model, "ema": ema, "step": 0}
        self._step = losses.get_step_fn(sde, True, losses.optimization_manager(self.config), reduce_mean=False)

    def use(self, model) -> None:
        """The model as it is called: compiled, or as it is."""
        self._state["model"] = model

    def call(self, x, labels):
        """The network's output in evaluation."""
        return self._state["model"].eval()(x, labels)

    def train(self, x) -> torch.Tensor:
        """One optimizer step on images in [0, 1]."""
        return self._step(self._state, (x + 1) / 2)

    def sampler(self, method: str, shape: tuple[int, ...], steps: int):
        """Of `get_sampling_fn`, with this many noise levels; a call returns samples and evaluations."""
        self.config.sampling.method = method
        sde = self._sde_lib.VESDE(sigma_min=0.01, sigma_max=50, N=steps)
        draw = self._sampling.get_sampling_fn(self.config, sde, shape, lambda x: x, 1e-5)
        return lambda: draw(self._state["model"])

    def likelihood(self, x, tolerance: float):
        """Bits/dim of images in [0, 1], with uniform noise, latents and evaluations, by `get_likelihood_fn`."""
        sde = self._sde_lib.VESDE(sigma_min=0.01, sigma_max=50, N=1000)
        images = (torch.round((x + 1) * 127.5) + torch.rand_like(x)) / 256
        measure = self._likelihood.get_likelihood_fn(sde, lambda x: x, rtol=tolerance, atol=tolerance)
        return measure(self._state["model"], images)


class GuidedDiffusion:
    """ADM on ImageNet, as its README's flags say."""

    marker = "guided_diffusion"

    def __init__(self, image_size: int):
        from guided_diffusion import script_util
        from guided_diffusion.nn import update_ema

        self._update_ema, self._script_util = update_ema, script_util
        flags = script_util.model_and_diffusion_defaults() | {
            "image_size": image_size,
            "attention_resolutions": "32,16,8",
            "class_cond": True,
            "learn_sigma": True,
            "num_head_channels": 64,
            "resblock_updown": True,
            "use_scale_shift_norm": True,
            "diffusion_steps": 1000,
        }
        if image_size == 64:
            flags |= {"num_channels": 192, "num_res_blocks": 3, "dropout": 0.1, "noise_schedule": "cosine"}
            flags |= {"use_new_attention_order": True}
        else:
            flags |= {"num_channels": 256, "num_res_blocks": 2}
        self._noise_schedule = flags["noise_schedule"]
        self.model, self._diffusion = script_util.create_model_and_diffusion(**flags)
        self.model.to(DEVICE)
        self._called = self.model
        _move(self.model)
        self._parameters = list(self.model.parameters())
        self._ema = [parameter.detach().clone() for parameter in self._parameters]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=1e-4, weight_decay=0.0)

    def use(self, model) -> None:
        """The model as it is called: compiled, or as it is."""
        self._called = model

    def _classes(self, b: int) -> torch.Tensor:
        return torch.arange(b, device=DEVICE) % 1000

    def call(self, x, labels):
        """The network's output in evaluation."""
        self.model.eval()
        return self._called(x, labels, y=self._classes(len(x)))

    def train(self, x) -> torch.Tensor:
        """What its TrainLoop does of one batch in float32, on one device."""
        self.model.train()
        self._optimizer.zero_grad()
        t = torch.randint(0, 1000, (len(x),), device=DEVICE)
        conditions = {"y": self._classes(len(x))}
        loss = self._diffusion.training_losses(self._called, x, t, model_kwargs=conditions)["loss"].mean()
        loss.backward()
        self._optimizer.step()
        self._update_ema(self._ema, self._parameters, rate=0.9999)
        return loss.detach()

    def sampler(self, method: str, shape: tuple[int, ...], steps: int):
        """DDIM's loop over a respaced chain."""
        assert method == "ddim", method
        loop = self._script_util.create_gaussian_diffusion(
            steps=1000, learn_sigma=True, noise_schedule=self._noise_schedule, timestep_respacing=f"ddim{steps}"
        ).ddim_sample_loop
        conditions = {"y": self._classes(shape[0])}
        self.model.eval()
        return lambda: loop(self._called, shape, clip_denoised=True, model_kwargs=conditions, device=DEVICE)


def _move(model: torch.nn.Module) -> None:
    """Away from where layers begin at 0, so that an output says something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.02 * noise.to(parameter.device))


ORIGINALS = {
    "ncsnpp_cifar10": ScoreSDE,
    "adm64": lambda: GuidedDiffusion(64),
    "adm256": lambda: GuidedDiffusion(256),
}


class Peer:
    """What is asked for, by name."""

    def __init__(self):
        self._original = self._context = None

    def load(self, model: str, inputs: str, weights: str, mode: str) -> dict:
        """The model, images (b, 3, h, w) in [-1, 1] and labels (b,); writes its weights, and says what runs it.

        mode: eager (as published), channels_last_bf16 (autocast), or compile (both and torch.compile).
        """
        torch.manual_seed(0)
        self._original = None
        self._original = original = ORIGINALS[model]()
        torch.save(original.model.state_dict(), weights)
        arrays = np.load(inputs)
        x, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        self._context = contextlib.nullcontext
        if mode != "eager":
            original.model.to(memory_format=torch.channels_last)
            x = x.to(memory_format=torch.channels_last)
            self._context = lambda: torch.autocast(DEVICE.type, dtype=torch.bfloat16)
        if mode == "compile":
            original.use(torch.compile(original.model))
        self._x, self._labels = x.to(DEVICE), labels.to(DEVICE)
        device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
        count = sum(p.numel() for p in original.model.parameters())
        return {"parameters": count, "torch": torch.__version__, "device": device}

    def forward(self, out: str = "") -> dict:
        """The output, and the time it took."""
        with torch.no_grad(), self._context():
            _synchronise()
            began = time.perf_counter()
            found = self._original.call(self._x, self._labels)
            _synchronise()
            seconds = time.perf_counter() - began
        if out:
            np.save(out, found.float().cpu().numpy())
        return {"seconds": seconds}

    def step(self) -> dict:
        """One optimizer step."""
        _synchronise()
        began = time.perf_counter()
        with self._context():
            loss = self._original.train(self._x)
        _synchronise()
        return {"seconds": time.perf_counter() - began, "loss": float(loss.detach())}

    def sample(self, method: str, steps: int) -> dict:
        """A batch like the images, by the original's loop."""
        draw = self._original.sampler(method, tuple(self._x.shape), steps)
        with torch.no_grad(), self._context():
            _synchronise()
            began = time.perf_counter()
            found = draw()
            _synchronise()
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "nfe": int(found[1]) if isinstance(found, tuple) else steps}

    def likelihood(self, tolerance: float) -> dict:
        """Of the images, by a method that chooses its steps."""
        _synchronise()
        began = time.perf_counter()
        bits, _, nfe = self._original.likelihood(self._x, tolerance)
        _synchronise()
        return {"seconds": time.perf_counter() - began, "nfe": int(nfe), "bits_per_dim": bits.tolist()}


def main() -> None:
    """Answers until the input ends."""
    for clone in sys.argv[1:]:
        if not any((Path(clone) / original.marker).exists() for original in (ScoreSDE, GuidedDiffusion)):
            sys.exit(f"{clone} is no clone of score_sde_pytorch or guided-diffusion.")
        sys.path.insert(0, clone)
    if DEVICE.type == "cpu":
        torch.set_num_threads(2)
    answer(Peer())


if __name__ == "__main__":
    main()
