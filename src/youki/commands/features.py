"""youki features: print what this runtime implements."""

from __future__ import annotations

from libcontainer.features import features
from youki.output import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments


def run(_args: Arguments, _settings: Arguments) -> None:
    write_json(features(), indent=4)
