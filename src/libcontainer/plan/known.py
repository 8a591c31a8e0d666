"""What was compiled before, for a program that makes many containers of one configuration.

The parts of a plan follow from the text of the configuration, from options, and from facts about the host. The
container itself is in them only by the descriptors of its cgroups, which are asked for anew, and where `_key` finds
it: such parts are not kept. On the hot path.
"""

from __future__ import annotations

from libcontainer.plan.context import Descriptor, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op

    Compiler = Callable[[Context], list[Op]]

MOST_KNOWN = 16

# A fact of which every Host has its own: what follows from it is not kept.
_OWN_FACTS = frozenset(("mounts",))
_OWN_KINDS = frozenset(("tasks", "cgroup"))  # of descriptors: each is of one cgroup

_known: dict[Hashable, Known] = {}


class Known:
    """The parts of a plan, the descriptors that each of them adds, and the facts that they follow from."""

    __slots__ = ("added", "facts", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.added: list[list[Descriptor]] = []
        self.facts: dict[str, Any] = {}


class Parts:
    """The parts of one plan: those that are known, or else compiled and then kept.

    `text` is that of the configuration; None for one that nobody has read from a file: nothing is kept then.
    """

    __slots__ = ("_compilers", "_context", "_found", "_key", "_made", "_text")

    def __init__(self, context: Context, text: bytes | None, compilers: Sequence[Compiler]) -> None:
        self._context = context
        self._text = text
        self._compilers = compilers
        self._key: Hashable = None
        self._found: Known | None = None
        self._made = Known()

    def part(self, index: int) -> Part:
        """Return the part of this number; they are asked for one after the other."""
        context = self._context
        if index == 0:
            self._key = _key(context, self._text)
            self._found = _find(context, self._key)
        elif self._key != _key(context, self._text):  # a cgroup could not be made, and is left out
            self._key = self._found = None
        if self._found is not None:
            context.descriptors += [_own(context, descriptor) for descriptor in self._found.added[index]]
            return self._found.parts[index]
        before, told = len(context.descriptors), len(context.warnings)
        ops = self._compilers[index](context)
        part = Part(ops, context.warnings[told:])
        if self._key is not None:
            self._made.parts.append(part)
            self._made.added.append([_anybodys(context, known) for known in context.descriptors[before:]])
            if len(self._made.parts) == len(self._compilers):
                self._keep(self._key)
        return part

    def _keep(self, key: Hashable) -> None:
        self._made.facts = dict(vars(self._context.host))
        if not _OWN_FACTS.isdisjoint(self._made.facts):
            return
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = self._made


def _key(context: Context, text: bytes | None) -> Hashable:
    """Return what the parts follow from besides facts; None where the container's id or cgroup is in them."""
    if text is None:
        return None
    options = context.options
    hooks = context.spec.get("hooks") or {}
    if hooks.get("createContainer") or hooks.get("startContainer") or options.notify_directory is not None:
        return None
    if not context.makes("cgroup"):
        return None  # the container's own cgroups are bound
    return (
        text,
        *(options.bundle, options.rootfs, options.no_pivot, options.as_sibling, options.preserve_fds),
        *(options.listen_fds, options.cgroup_mode, options.self_join, options.device_program),
        tuple([(cgroup.mount_point, cgroup.controllers) for cgroup in options.cgroups]),
    )


def _find(context: Context, key: Hashable) -> Known | None:
    found = _known.get(key)
    if found is None:
        return None
    host = context.host
    return found if all([getattr(host, name) == fact for name, fact in found.facts.items()]) else None


def _anybodys(context: Context, descriptor: Descriptor) -> Descriptor:
    """Return the request for a descriptor as any container makes it: a cgroup by its place among its own."""
    if descriptor.kind not in _OWN_KINDS:
        return descriptor
    places = [cgroup.directory for cgroup in context.options.cgroups]
    return Descriptor(descriptor.kind, places.index(descriptor.detail), descriptor.pointer)


def _own(context: Context, descriptor: Descriptor) -> Descriptor:
    """Return the request as this container makes it."""
    if descriptor.kind not in _OWN_KINDS:
        return descriptor
    return Descriptor(
        descriptor.kind, context.options.cgroups[descriptor.detail].directory, descriptor.pointer
    )
