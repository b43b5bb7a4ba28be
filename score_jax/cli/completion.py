"""`python -m score_jax completion bash` or `zsh`: a script that completes verbs, flags, configs and keys."""

from collections.abc import Iterable

from score_jax.builder.options import keys_of
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sections import METHODS
from score_jax.cli.arguments import VerbParser
from score_jax.cli.config_files import shipped_names
from score_jax.cli.main import VERBS
from score_jax.cli.reference import flags_in, help_of
from score_jax.cli.verb import ALIASES
from score_jax.errors import entry_of

_DESCRIPTION = """Prints a script that completes verbs, flags, configs and keys of the command score_jax in a shell.

  score_jax completion bash > ~/.local/share/bash-completion/completions/score_jax
  score_jax completion zsh > FOLDER/_score_jax          FOLDER being one of $fpath"""
_BASH = """# bash completion of score_jax; made by `score_jax completion bash`
_score_jax() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words='' flags=''
  # Bash takes --config=x for three words.
  if [[ $word == = ]]; then
    word=''
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  elif ((COMP_CWORD > 1)); then
    before=''
  fi
  if ((COMP_CWORD == 1)); then
    words='@VERBS@'
  elif [[ $before == --config ]]; then
    words='@CONFIGS@'
  elif [[ $word == --config.* ]]; then
    words='@KEYS@'
  elif [[ $word == -* ]]; then
    case ${COMP_WORDS[1]} in
@FLAGS@
    esac
    words=$flags
  elif [[ ${COMP_WORDS[1]} == help ]]; then
    words='@SECTIONS@'
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ $before != --config ]] || COMPREPLY+=($(compgen -f -X '!*.py' -- "$word"))
  [[ ${COMPREPLY[0]-} != --*= ]] || compopt -o nospace
}
complete -o default -F _score_jax score_jax
"""
_ZSH = """#compdef score_jax
# zsh completion of score_jax; made by `score_jax completion zsh`
_score_jax() {
  local -a flags
  if ((CURRENT == 2)); then
    compadd -- @VERBS@
  elif compset -P '--config='; then
    compadd -- @CONFIGS@
    _files -g '*.py'
  elif compset -P '--*='; then
    _files
  elif [[ $PREFIX == --config.* ]]; then
    compadd -S '' -- @KEYS@
  elif [[ $PREFIX == -* ]]; then
    case $words[2] in
@FLAGS@
    esac
    compadd -S '' -- $flags
  elif [[ $words[2] == help ]]; then
    compadd -- @SECTIONS@
  else
    _files
  fi
}
(( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit }
compdef _score_jax score_jax
"""
_CASE = {"bash": "      {verb}) flags='{flags}' ;;", "zsh": "      {verb}) flags=({flags}) ;;"}


def _keys() -> list[str]:
    """`--config.section.key=` of all sections whose keys are known without the config."""
    found = [f"{section}.{key}" for section, options in SECTIONS.items() for key in keys_of(options)]
    for section, methods in METHODS.items():
        of_methods = {key for options in methods.values() for key in keys_of(options)}
        found += [f"{section}.{key}" for key in ("name", *sorted(of_methods))]
    return [f"--config.{key}=" for key in found]


def _flags(verb: str) -> list[str]:
    """The flags of a verb, with the short forms that its help speaks of."""
    text = help_of(verb)
    short = [f"{alias}=" for alias in (*ALIASES, "--num_samples", "--guidance.scale") if alias in text]
    return [*flags_in(text), *(flag for flag in short if flag not in flags_in(text)), "--help"]


def script(shell: str) -> str:
    """Returns the script for bash or zsh.

    Raises:
      InputError: it is another shell.
    """
    text = entry_of({"bash": _BASH, "zsh": _ZSH}, "shell", shell)

    def joined(words: Iterable[str]) -> str:
        return " ".join(words)

    cases = [_CASE[shell].format(verb=verb, flags=joined(_flags(verb))) for verb in VERBS if verb != "help"]
    parts = {
        "@VERBS@": joined(VERBS),
        "@CONFIGS@": joined(shipped_names()),
        "@KEYS@": joined(_keys()),
        "@SECTIONS@": joined(["configs", *SECTIONS, *METHODS]),
        "@FLAGS@": "\n".join(cases),
    }
    for mark, words in parts.items():
        text = text.replace(mark, words)
    return text


def main(argv: list[str]) -> int:
    """Runs the verb: prints the script."""
    parser = VerbParser("completion", _DESCRIPTION)
    parser.add_argument("shell", help="bash or zsh")
    print(script(parser.parse_args(argv[1:]).shell), end="")
    return 0
