"""The dispatcher: verbs, their help, and errors as one line."""

import errno
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable

from score_jax.cli.sections import sections
from score_jax.errors import InputError, Outage, unknown_name
from score_jax.runtime import cluster
from score_jax.runtime.compile_cache import compile_cache, keep_compiled
from score_jax.runtime.exit_codes import AGAIN, BUG, INTERRUPTED, MEND
from score_jax.runtime.host_memory import keep_freed_memory
from score_jax.runtime.jax_versions import refuse_known_wrong
from score_jax.runtime.outages import is_outage

VERBS = {
    "train": "train a model, or resume its training",
    "sample": "draw images from a trained model or a cascade",
    "edit": "complete, colour, denoise or repaint an image with a trained model",
    "variations": "make other images of an image by a decoder of CLIP's embeddings (unCLIP)",
    "likelihood": "measure bits per dimension of held-out data, exactly or by a bound",
    "reconstruct": "encode and decode images by an autoencoder, and measure what is lost",
    "encode": "encode images to latents, decode them, and interpolate between them",
    "evaluate": "draw samples and measure FID and similar metrics, by the protocol of an evaluator",
    "fid": "measure FID and similar metrics between two sets of images or statistics",
    "table": "print results of several models side by side, and nothing in one column that cannot be compared",
    "convert": "convert published weights into a workdir that the other verbs read",
    "inspect": "list what checkpoints hold, and check that they are not damaged",
    "export": "write only the parameters, for sharing, as safetensors or orbax",
    "app": "open a page to play with a trained model in a browser",
    "demo": "train, sample, measure and report on real images, in one command",
    "plan": "compute memory and time on a TPU slice with the TPU compiler, without a TPU",
    "preflight": "look at every machine of a job, and name the one that is bad",
    "doctor": "report what this machine has, what is missing, and whether it computes correctly",
    "completion": "print a script that completes verbs, flags and configs in bash or zsh",
    "help": "print this text; help SECTION [METHOD] prints a section's methods and keys, help configs the configs",
}
_NOT_WRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
_BY_ALL_PROCESSES = (
    *("preflight", "train", "sample", "edit", "likelihood", "reconstruct", "encode", "evaluate", "fid", "demo"),
)

_USAGE = "usage: python -m score_jax VERB [--workdir=DIR] [--config=NAME or FILE.py] [--config.section.key=value ...]\n"


def _use_all_cores() -> None:
    """One XLA CPU device fills little more than a core: split the batch over as many as there are cores, up to 8.

    Has no effect on machines with an accelerator, nor where XLA_FLAGS already says it.
    """
    name = "xla_force_host_platform_device_count"
    present = os.environ.get("XLA_FLAGS", "")
    if name not in present:
        power_of_two = 1 << ((os.cpu_count() or 1).bit_length() - 1)
        os.environ["XLA_FLAGS"] = f"{present} --{name}={min(8, power_of_two)}".strip()


def _in_home(word: str) -> str:
    """An argument with a leading ~ of its value as the home folder: shells leave the one of `--workdir=~/x` alone."""
    name, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    prefix = "folder:" if value.startswith("folder:") else ""
    path = value.removeprefix(prefix)
    return name + equals + prefix + os.path.expanduser(path) if path == "~" or path.startswith("~/") else word


def _help() -> str:
    return (
        _USAGE
        + "\nverbs:\n"
        + "".join(f"  {verb:<11}{text}\n" for verb, text in VERBS.items())
        + "\nsections of a config:\n"
        + sections()
        + "\n\n`python -m score_jax VERB --help` explains a verb, `help SECTION` the keys of a section.\n"
    )


def _quiet_libraries() -> None:
    """Orbax's threads log each failure with a traceback, and raise it to us, who say it in one line."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _print_any_text() -> None:
    """Letters that the terminal has not, and names of files that are no text, are printed escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main(argv: list[str]) -> int:
    """Runs a verb; returns its exit code, one of `runtime.exit_codes`."""
    _print_any_text()
    verb = argv[1] if len(argv) > 1 else "--help"
    if verb in ("--help", "-h") or argv[1:] == ["help"]:
        print(_help())
        return 0
    words = [verb, *(_in_home(word) for word in argv[2:])]
    try:
        code = _prepared(verb, words)(words)
    except (Exception, KeyboardInterrupt) as error:
        code, line = _code_of(verb, error)
        if cluster.is_joined():
            _leave_job(error, code, line)
        return code
    if cluster.is_joined():
        cluster.leave_in_order(code) if code else cluster.finish()
    return code


def _leave_job(error: BaseException, code: int, line: str) -> None:
    """Ends this process of several, so that the others do not wait for it."""
    if code == AGAIN and isinstance(error, Exception) and cluster.lost_peer(error):
        cluster.leave_bereft(line)
    elif code == INTERRUPTED:
        cluster.leave_in_order(code)
    else:
        cluster.leave_failed(code, line)


def _prepared(verb: str, words: list[str]) -> Callable[[list[str]], int]:
    """The verb, once the process is ready for it."""
    if verb not in VERBS:
        raise unknown_name("verb", verb, VERBS)
    _use_all_cores()
    keep_freed_memory()
    keep_compiled(compile_cache(os.environ))
    _quiet_libraries()
    if verb in _BY_ALL_PROCESSES and "--help" not in words:
        cluster.join()
        refuse_known_wrong(os.environ)  # which may start JAX's backend: not before the processes are joined
    return importlib.import_module(f"score_jax.cli.{verb}").main


def _code_of(verb: str, error: BaseException) -> tuple[int, str]:
    """The exit code of what a verb raised, and the one line that was said of it; a bug comes with its traceback."""

    def said(line: str, code: int) -> tuple[int, str]:
        print(f"score_jax {verb}{cluster.name_here()}: {line}", file=sys.stderr, flush=True)
        return code, line

    if isinstance(error, InputError):
        return said(str(error), MEND)
    if isinstance(error, Outage):
        return said(str(error), AGAIN)
    if isinstance(error, KeyboardInterrupt):
        return said("interrupted. Run the same command again to resume.", INTERRUPTED)
    if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
        return said(f"cannot write {error.filename2 or error.filename or ''}: {error.strerror}.", MEND)
    if isinstance(error, OSError) and is_outage(error):
        return said(f"{' '.join(str(error).split())}. The same command goes on from what is saved.", AGAIN)
    if not cluster.is_joined():
        raise error
    if isinstance(error, Exception) and (lost := cluster.lost_peer(error)):
        return said(lost, AGAIN)
    traceback.print_exception(error)
    return BUG, f"{type(error).__name__}: {error}"
