"""Networks that features are taken of and that are known by their architecture: files found, read and converted."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors.numpy import save_file

from score_jax.convert.correspondence import StateDict, Table, sha256_of, to_ours, to_theirs
from score_jax.convert.known_file import check_out
from score_jax.convert.readers import given_or_in_environment, read_checkpoint
from score_jax.errors import InputError, quoted
from score_jax.evaluation.scorer import Scorer
from score_jax.runtime.files import written_whole


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of one kind.

    Attributes:
      network: what they are called, for messages.
      key: of their flag and environment variable, such as "mae".
      where: to get the one that published numbers are of.
      published: the name of that one's features.
      module_of: the network that a state dict is of, by its shapes.
      name_of: the name of a network's features.
      shapes_of: shapes of its parameters.
      table: which tensor is which parameter, in timm's names.
      renamed: a state dict of any code in timm's names.
      buffers: regular expression of tensors that are not needed.
    """

    network: str
    key: str
    where: str
    published: str
    module_of: Callable[[StateDict], Any]
    name_of: Callable[[Any], str]
    shapes_of: Callable[[Any], PyTree]
    table: Table
    renamed: Callable[[StateDict], StateDict]
    buffers: str

    @property
    def variable(self) -> str:
        """Environment variable with the path of the weights."""
        return f"SCORE_JAX_{self.key.upper()}"

    def of(self, state: StateDict) -> Scorer:
        """The network of a state dict, with parameters in float32.

        Raises:
          InputError: it is of another kind; tensors are missing, left over or of another shape.
        """
        state = self.renamed(state)
        module = self.module_of(state)
        params = to_ours(state, self.shapes_of(module), self.table, buffers=self.buffers)
        digest = sha256_of(to_theirs(params, self.table))
        return Scorer(module, jax.tree.map(jnp.asarray, params), digest, self.name_of(module))

    def load(self, path: Path) -> Scorer:
        """The network of a file.

        Raises:
          InputError: the file is missing, damaged, or of another kind.
        """
        state: Any = read_checkpoint(path)
        if isinstance(state, dict) and isinstance(state.get("model"), dict):
            state = state["model"]  # as facebookresearch's training codes save it
        if not isinstance(state, dict) or not all(isinstance(tensor, np.ndarray) for tensor in state.values()):
            raise InputError(f"{path} holds no named tensors: get {self.where}.")
        try:
            return self.of(state)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def find(self, path: Path | None, *, allow_other: bool = False) -> Scorer:
        """The network at `path`, or where the environment says.

        Args:
          path: see `load`.
          allow_other: take another network than that of published numbers.

        Raises:
          InputError: neither is given, or what they name is not that network.
        """
        found = given_or_in_environment(path, self.variable)
        if found is None:
            raise InputError(
                f"The weights of {self.network} are not named: get {self.where}, and name the file with "
                f"--{self.key}_weights or ${self.variable}."
            )
        scorer = self.load(found)
        if scorer.name != self.published and not allow_other:
            raise InputError(
                f"{found} is of {scorer.name}, and published numbers are of {self.published}, so its distance cannot "
                f"be compared with them: get {self.where}, or give --allow_other_weights."
            )
        return scorer

    def convert(self, source: Path, out: Path) -> int:
        """Writes the tensors as .safetensors, in timm's names; returns the number of parameters.

        Raises:
          InputError: see `load`, or `out` has another suffix.
        """
        check_out(out)
        scorer = self.load(source)
        with written_whole(out) as temporary:
            save_file(to_theirs(scorer.params, self.table), temporary)
        return sum(leaf.size for leaf in jax.tree.leaves(scorer.params))

    def random_state(self, seed: int, module: Any) -> dict[str, np.ndarray]:
        """Weights that keep numbers in range, in timm's names: for tests and benchmarks."""
        rng = np.random.default_rng(seed)
        zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), self.shapes_of(module))
        state = {}
        for name, tensor in to_theirs(zeros, self.table).items():
            n = rng.standard_normal(tensor.shape, np.float32)
            fan_in = tensor[0].size if tensor.ndim in (2, 4) else 1
            state[name] = 0.1 * n + ("norm" in name and name.endswith("weight")) if n.ndim == 1 else n / fan_in**0.5
            state[name] = state[name].astype(np.float32)
        return state


def shape_of(state: StateDict, name: str, axes: int, network: str) -> tuple[int, ...]:
    """Returns the shape of a tensor that tells which network it is.

    Raises:
      InputError: there is none, or it has another number of axes.
    """
    if name not in state:
        raise InputError(f"The weights are no {network}'s: {name} is missing.")
    shape = np.shape(state[name])
    if len(shape) != axes or 0 in shape:
        raise InputError(f"The weights are no {network}'s: {name} has the shape {quoted(shape)}.")
    return shape


def renamed_by(patterns: Mapping[str, str], name: str) -> str:
    """Returns a name with its beginning replaced by the first of the regular expressions that fits."""
    for pattern, theirs in patterns.items():
        found, changed = re.subn(f"^{pattern}", theirs, name)
        if changed:
            return found
    return name


def number_of(state: StateDict, name: str) -> int:
    """Returns how many tensors there are of a name with {} for their number."""
    count = 0
    while name.format(count) in state:
        count += 1
    return count


def known_as(module: Any, architectures: Mapping[str, Any], family: str) -> str:
    """Returns what features of a network are called: by its published name, or as other ones of the family."""
    found = next((name for name, known in architectures.items() if known == module), None)
    return f"{family}_{found or 'other'}"
