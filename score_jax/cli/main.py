"""The dispatcher: verbs, their help, and errors as one line."""

import errno
import importlib
import os
import sys

from score_jax.errors import InputError, unknown_name

_VERBS = {
    "train": "train a model, or resume its training",
    "sample": "draw images from a trained model",
    "edit": "complete or colour an image with a trained model",
    "likelihood": "exact bits per dimension of held-out data",
    "encode": "images to latents and back, and between them",
    "evaluate": "FID and its relatives of fresh samples, by the protocol of any evaluator",
    "fid": "the same of any two of folder, array file, data set and statistics",
    "convert": "read published weights into a folder that the other verbs take",
    "demo": "train, sample, measure and report on real images, in one command",
    "plan": "what a TPU slice needs for a config, by the real compiler, without a TPU",
    "doctor": "what this machine has, and what is missing",
}

_USAGE = "usage: python -m score_jax VERB [--workdir=DIR] [--config=FILE.py] [--config.section.key=value ...]\n"


def _use_all_cores() -> None:
    """One XLA CPU device fills little more than a core: split the batch over as many as there are cores, up to 8.

    Has no effect on machines with an accelerator, nor where XLA_FLAGS already says it.
    """
    name = "xla_force_host_platform_device_count"
    present = os.environ.get("XLA_FLAGS", "")
    if name not in present:
        power_of_two = 1 << ((os.cpu_count() or 1).bit_length() - 1)
        os.environ["XLA_FLAGS"] = f"{present} --{name}={min(8, power_of_two)}".strip()


def _use_compile_cache() -> None:
    """Compiled programs are kept between runs, so that resuming does not compile again."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/score_jax/jax"))


def _help() -> str:
    return (
        _USAGE
        + "\nverbs:\n"
        + "".join(f"  {verb:<11}{text}\n" for verb, text in _VERBS.items())
        + ("\n`python -m score_jax VERB --help` explains the options of a verb.\n")
    )


def main(argv: list[str]) -> int:
    """Runs a verb; returns the exit code: 0 done, 2 bad input, 1 anything else that went wrong."""
    verb = argv[1] if len(argv) > 1 else "--help"
    if verb in ("--help", "-h", "help"):
        print(_help())
        return 0
    try:
        if verb not in _VERBS:
            raise unknown_name("verb", verb, _VERBS)
        _use_all_cores()
        _use_compile_cache()
        return importlib.import_module(f"score_jax.cli.{verb}").main(argv[1:])
    except InputError as error:
        print(f"score_jax {verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"score_jax {verb}: interrupted; the same command resumes.", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(f"score_jax {verb}: cannot write {error.filename or ''}: {error.strerror}.", file=sys.stderr)
        return 2
