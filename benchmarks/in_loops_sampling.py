"""Samplers with guidance beside single evaluations of the guided model: pairs of `in_loops.py`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from in_loops_models import SIZE, Model, adm_config
from ratios import Pair, seconds

from score_jax.arrays import keys_per_example
from score_jax.builder import Edit, Guide
from score_jax.builder.run_options import EditOptions
from score_jax.convert.clip import clip_of, random_state
from score_jax.guidance.measurements import mask
from score_jax.jobs.sample import Given, sampling_program
from score_jax.jobs.text_guide import TextGuide
from score_jax.models.clip.clip import CLIP, TextTransformer
from score_jax.models.clip.clip_input import normalised
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.runtime.sharding import over_batch, replicated

_FEATURES = 32
_EVALUATIONS = 3
"""In a row, outside of the loop, in a round."""


def _solve(model: Model, given: Given) -> Callable[[], Any]:
    """Draws the batch, through the program of the verbs that sample."""
    program = sampling_program(model.experiment, model.mesh, 0, given, ("truncated",))
    guide = jax.device_put(given.guide_params, replicated(model.mesh))
    numbers = np.arange(model.size, dtype=np.int32)
    indices, rows = model.split(numbers), model.split(given.rows(numbers))
    return lambda: program(model.params, guide, jax.random.key(0), indices, np.int32(0), rows)


def _pair(name: str, model: Model, given: Given, evaluate: Callable, *arguments: Any) -> Pair:
    solve, steps = _solve(model, given), model.experiment.config.sampler.num_steps
    return Pair(
        name,
        lambda: seconds(solve) / steps,
        lambda: seconds(evaluate, *arguments, times=_EVALUATIONS),
        f"a step of {model.experiment.config.sampler.name} of {steps} over an evaluation, {model.size} images",
    )


def _conditions(model: Model, params: Any, x: jax.Array) -> Any:
    """Of the first class, where the model knows any."""
    return model.experiment.conditions(params, {"label": jnp.zeros(len(x), jnp.int32)})


def plain_pair(name: str, model: Model) -> Pair:
    """Without guidance."""

    def evaluate(params, x, t):
        prediction = model.experiment.predictor(params)(x, t, _conditions(model, params, x))
        return prediction.x0, prediction.eps

    program = jax.jit(evaluate, out_shardings=over_batch(model.mesh))
    return _pair(name, model, Given(), program, model.params, *model.noise())


def _classifier_pair(name: str, model: Model, classifier: Model) -> Pair:
    """With the gradient of a classifier."""
    e = model.experiment

    def evaluate(params, classifier_params, x, t):
        def log_prob(x, t, target):
            return jax.nn.log_softmax(classifier.experiment.predict(classifier_params, x, t))[:, 0]

        target = jnp.zeros(len(x), jnp.int32)
        guided = e.sampling(guide=Guide(log_prob, target, 1.0)).see(e.predictor(params))
        prediction = guided(x, t, {"model": _conditions(model, params, x), "target": target})
        return prediction.x0, prediction.eps

    program = jax.jit(evaluate, out_shardings=over_batch(model.mesh))
    given = Given(classifier=classifier.experiment, classifier_params=classifier.params)
    arguments = (model.params, classifier.params, *model.noise())
    return _pair(name, model, given, program, *arguments)


def _text_guide(options: EditOptions) -> TextGuide:
    """A small CLIP with random weights, its patches by a convolution, and a random text; the whole image is painted."""
    vision = VisionTransformer(image_size=32, patch=4, width=64, layers=1, heads=1, features=_FEATURES)
    text = TextTransformer(vocabulary=8, context=4, width=64, layers=1, heads=1, features=_FEATURES)
    clip = clip_of(random_state(0, CLIP(vision, text)))
    return TextGuide(
        embed=lambda params, images: clip.encode_image(params["clip"], normalised(images)),
        perceptual=lambda params, a, b: jnp.zeros(len(a), a.dtype),
        params={"clip": clip.params},
        text=jax.random.normal(jax.random.key(3), (1, _FEATURES)),
        size=vision.image_size,
        mask=np.ones((1, SIZE, SIZE, 1), np.float32),
        options=options,
    )


def text_pairs(model: Model, blending: Model) -> list[Pair]:
    """Edits by text: by DDIM, whose score the text guides, and blended by ancestral steps; one evaluation for both."""
    e = model.experiment
    guide = _text_guide(e.sections["edit"])
    measured = mask(np.zeros((1, SIZE, SIZE, 1), np.float32))
    images = np.full((model.size, *e.image_shape), 99, np.uint8)

    def evaluate(params, clip_params, x, t):
        keys = keys_per_example(jax.random.key(0), jnp.arange(len(x)))
        edit = Edit(jnp.zeros_like(x), measured, 0, guide.loss(clip_params, keys, jnp.zeros_like(x)))
        prediction = e.sampling(edit=edit).see(e.predictor(params))(x, t, {"model": _conditions(model, params, x)})
        return prediction.x0, prediction.eps

    program = jax.jit(evaluate, out_shardings=over_batch(model.mesh))
    given = Given(text=guide, measurement=measured, known=images)
    arguments = (program, model.params, jax.device_put(guide.params, replicated(model.mesh)), *model.noise())
    return [
        _pair("loop_ratio_text_guidance", model, given, *arguments),
        _pair("loop_ratio_blend", blending, given, *arguments),
    ]


def guided_pair(name: str) -> Pair:
    """Classifier guidance, of models of their own."""
    model = Model(adm_config("adm", batch_size=32))
    config = adm_config("adm_classifier", batch_size=32, num_classes=10, pool="adaptive")
    config.loss.name = "classifier"
    return _classifier_pair(name, model, Model(config))


def sampling_pairs() -> dict[str, Callable[[], Pair]]:
    """What makes those of sampling that differentiates a network, by name."""

    @functools.cache
    def edits() -> list[Pair]:
        configs = [adm_config("adm", batch_size=16) for _ in range(2)]
        for config, name in zip(configs, ("ddim", "ancestral"), strict=True):
            config.sampler.name = name
            config.edit.update(skip=0, views=2)
        return text_pairs(*map(Model, configs))

    return {
        "loop_ratio_classifier_guidance": lambda: guided_pair("loop_ratio_classifier_guidance"),
        "loop_ratio_text_guidance": lambda: edits()[0],
        "loop_ratio_blend": lambda: edits()[1],
    }
