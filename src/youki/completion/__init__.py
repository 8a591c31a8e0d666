"""Shell completion, from the tables of `options`: one module per shell, each with `script()`."""

from __future__ import annotations

from youki.completion import bash, fish, zsh

SHELLS = {"bash": bash.script, "fish": fish.script, "zsh": zsh.script}
