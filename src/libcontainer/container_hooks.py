"""Hooks that run inside the container's namespaces: createContainer and startContainer. config.md "Hooks".

init runs them: Python never enters a container. The runtime's own hooks are in hooks.py.
"""

from __future__ import annotations

from libcontainer.plan import operations as do
from libcontainer.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.plan.context import Context
    from libcontainer.plan.operations import Op


def compile_hooks(context: Context, kind: str, status: str, env: list[bytes] | None) -> Iterator[Op]:
    """Yield the hooks of one kind. A hook without `env` gets `env`, the payload's, or none: never the runtime's.

    Before the change of root a hook starts in the bundle, as the runtime's own do, afterwards in the payload's
    working directory.
    """
    head, tail = _state(context, status)
    cwd = context.options.bundle.encode() if kind == "createContainer" else b""
    for index, hook in enumerate(context.spec["hooks"][kind]):
        entries = hook.get("env")
        yield do.RunHook(
            pointer=f"/hooks/{kind}/{index}",
            name=kind.encode(),
            path=hook["path"].encode(),
            args=[item.encode() for item in hook.get("args") or [hook["path"]]],
            env=[item.encode() for item in entries] if entries is not None else env or [],
            cwd=cwd,
            timeout_ms=1000 * (hook.get("timeout") or 0),
            head=head,
            tail=tail,
        )


def _state(context: Context, status: str) -> tuple[bytes, bytes]:
    """Return the state as JSON (runtime.md "State") in two parts.

    Init puts its own pid, as seen in the container, between them.
    """
    options = context.options
    version = context.spec["ociVersion"]
    head = dumps({"ociVersion": version, "id": options.container_id, "status": status})[:-1] + ', "pid": '
    rest = {"bundle": options.bundle, "annotations": context.spec.get("annotations") or {}}
    return head.encode(), (", " + dumps(rest)[1:]).encode()
