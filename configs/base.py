"""The config from which every experiment starts, and states only what differs.

`python -m score_jax help` lists the sections, and `python -m score_jax help sampler` the methods of one with their
keys, defaults and meaning: they are the dataclasses in `score_jax/builder/*_options.py`.
"""

from ml_collections import ConfigDict

from score_jax.builder.sections import default_cascade, default_config


def get_config() -> ConfigDict:
    """DDPM++ on 32 x 32 RGB images under VP. Locked: new keys are refused, but of sections that name a method.

    Those (`sampler`, `loss`, `guidance`, `codec`, `likelihood`) take the keys that the method reads.
    """
    config = default_config()
    config.process = ConfigDict({"name": "vp", "beta_min": 0.1, "beta_max": 20.0})
    config.network = ConfigDict(
        {
            "name": "ncsnpp",
            "channels": 128,
            "channel_mult": (1, 2, 2, 2),
            "num_res_blocks": 4,
            "attention_resolutions": (16,),
            "dropout": 0.1,
            "embedding": "positional",
            "fourier_scale": 16.0,
            "fir": False,
            "progressive_input": "none",
            "progressive": "none",
            "scale_by_sigma": False,
            "conditional": True,
            "remat": (),
            "dtype": "float32",
        }
    )
    config.prediction = ConfigDict({"output": "eps", "label": "999t"})
    return config.lock()


def get_cascade(*workdirs: str) -> ConfigDict:
    """A cascade of the runs in these workdirs: the first draws from noise, each other one enlarges what is drawn.

    Each is sampled as its own config says, but for what `cascade.stage1.sampler` and `cascade.stage1.guidance` state
    (`stage2`, ...). Locked, but for those.
    """
    return default_cascade(workdirs)


def set_data(config: ConfigDict, name: str) -> None:
    """Names the data set; a folder of images has no parts, and is trained on and measured as a whole, as published."""
    config.data.name = name
    if name.startswith("folder:"):
        config.data.update(train_split="all", eval_split="all")


def replace_section(config: ConfigDict, section: str, /, **values) -> None:
    """Gives a section that is `{name, **arguments}` other arguments altogether, e.g. another process."""
    with config.unlocked():
        config[section] = ConfigDict(values)
