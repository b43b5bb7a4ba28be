"""Gradio's server: on this machine alone unless another host is asked for, and without any word to another one."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from score_jax.app import page
from score_jax.errors import InputError
from score_jax.jobs.trained import Trained
from score_jax.runtime.stop import Stop

LOOPBACK = "127.0.0.1"
_LARGEST_FILE = "64mb"


def load_gradio() -> Any:
    """Returns the module, told to report nothing.

    Raises:
      InputError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError:
        raise InputError("The page needs gradio: run pip install 'score_jax[app]'.") from None
    return gradio


@contextlib.contextmanager
def served(gr: Any, model: Trained, *, host: str = LOOPBACK, port: int = 0) -> Iterator[str]:
    """The address of a model's page, which is served for the time of the context.

    What visitors upload and download lies in a temporary folder, which is removed at the end.

    Args:
      gr: the module gradio.
      model: the model.
      host: address on which the server listens.
      port: 0: any that is free.

    Raises:
      InputError: the run draws no images, or nothing can listen there.
    """
    port = free_port(host, port)
    with tempfile.TemporaryDirectory(prefix="score_jax_app_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = page.build(gr, model, Path(folder))
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=False,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            max_file_size=_LARGEST_FILE,
            css=page.CSS,
        )
        try:
            yield address
        finally:
            blocks.close(verbose=False)


def wait_for(stop: Stop) -> None:
    """Returns once the process is asked to end."""
    while not stop:
        time.sleep(0.2)


def free_port(host: str, port: int) -> int:
    """Returns the port, or a free one in the place of 0.

    Raises:
      InputError: nothing can listen there.
    """
    try:
        with socket.create_server((host, port)) as server:
            return server.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"Cannot listen on --host={host} --port={port}: {reason}. Give another port, or 0 for any that is free."
        ) from None
