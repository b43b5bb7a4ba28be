"""Texts of the command line and of the data become conditions of samples."""

from pathlib import Path

import numpy as np
import pytest

from score_jax import builder
from score_jax.configs.ldm import mnist_class, shapes_text
from score_jax.errors import InputError
from score_jax.jobs.prompts import Prompts, conditioned, read_prompts
from score_jax.jobs.sample import Given

NOWHERE = Path("nowhere")
RED = "a red circle"


def experiment(**guidance):
    config = shapes_text.get_config()
    config.guidance.update(guidance)
    return builder.experiment(config)


def test_prompts_in_turn(capsys):
    given = conditioned(Given(), experiment(), NOWHERE, 5, Prompts((RED, "a blue square")))
    tokens = given.conditions["tokens"]
    assert tokens.shape == (5, 12) and tokens.dtype == np.int32
    assert (tokens[0] == tokens[2]).all() and (tokens[1] == tokens[3]).all() and not (tokens[0] == tokens[1]).all()
    conditioned(Given(), experiment(), NOWHERE, 1, Prompts((" ".join([RED] * 5),)))
    assert "is longer than 12 tokens, and its end is not read" in capsys.readouterr().out


def test_the_empty_text_is_the_null_condition():
    declared = experiment().network.conditions["tokens"]
    assert (np.asarray(declared.null) == 0).all() and declared.shape == (12,)


def test_a_negative_prompt_needs_guidance():
    with pytest.raises(InputError, match="needs guidance: give --guidance.scale"):
        conditioned(Given(), experiment(), NOWHERE, 2, Prompts((RED,), negative=RED))
    given = conditioned(Given(), experiment(scale=3.0), NOWHERE, 2, Prompts((RED,), negative=RED))
    np.testing.assert_array_equal(given.conditions["negative_tokens"], given.conditions["tokens"])


def test_other_models_take_no_text():
    with pytest.raises(InputError, match="takes no text: leave out --prompt"):
        conditioned(Given(), builder.experiment(mnist_class.get_config()), NOWHERE, 2, Prompts((RED,)))


def test_a_text_without_a_tokenizer():
    config = shapes_text.get_config()
    config.data.tokenizer = ""
    with pytest.raises(InputError, match=r"data\.tokenizer is missing"):
        conditioned(Given(), builder.experiment(config), NOWHERE, 2, Prompts((RED,)))


def test_an_encoder_that_knows_fewer_words():
    config = shapes_text.get_config()
    config.condition_encoder.vocabulary = 8
    with pytest.raises(InputError, match="has 30 ids, but condition_encoder.vocabulary=8"):
        builder.experiment(config)
    config = shapes_text.get_config()
    config.data.max_tokens = 20
    with pytest.raises(InputError, match="20 tokens a text, but condition_encoder.length=12"):
        builder.experiment(config)


def test_files_of_prompts(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text(f"{RED}\n\na blue square\n")
    assert read_prompts(None, str(file), None) == Prompts((RED, "a blue square"))
    assert read_prompts(RED, None, "x") == Prompts((RED,), "x")
    file.write_text("\n")
    for arguments, message in (
        ((RED, str(file), None), "either --prompt=TEXT or --prompts=FILE"),
        ((None, str(file), None), "has no prompt"),
        ((None, str(tmp_path / "none"), None), "Cannot read --prompts="),
    ):
        with pytest.raises(InputError, match=message):
            read_prompts(*arguments)
