"""`as_sibling`: the container's first process becomes a child of the caller's parent, a child subreaper."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from libcontainer import Container

from .tenants import running

if TYPE_CHECKING:
    from .conftest import Bundle

# The program that makes the container; its parent is the one that has to be a subreaper.
CREATE = """
import sys
from libcontainer import ContainerBuilder, Error
try:
    container = ContainerBuilder(sys.argv[1]).with_root_path(sys.argv[2]).as_init(sys.argv[3]).as_sibling().build()
    print(container.pid)
    container.start()
except Error as error:
    print(type(error).__name__, error.step, error.remedy)
"""

# The same for a tenant.
EXEC = """
import sys
from libcontainer import ContainerBuilder, Error
try:
    builder = ContainerBuilder(sys.argv[1]).with_root_path(sys.argv[2]).as_tenant().as_sibling()
    print(builder.with_container_args(["sh", "-c", "exit 5"]).build().pid)
except Error as error:
    print(type(error).__name__, error.step, error.remedy)
"""

# The parent: starts the program above, waits for it, and then for whoever has become its child.
PARENT = """
import ctypes, os, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
if sys.argv[1] == "subreaper":
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
done = subprocess.run([sys.executable, *sys.argv[2:]], stdout=subprocess.PIPE, text=True)
print(done.stdout, end="")
try:
    pid, status = os.waitpid(-1, 0)
    print(pid, os.waitstatus_to_exitcode(status))
except ChildProcessError:
    print("no child")
"""


def create(bundle: Bundle, kind: str) -> list[str]:
    """Make the bundle's container as a sibling in a new program; return what that and its parent print."""
    bundle.process["args"] = ["sh", "-c", "exit 5"]
    bundle.save()
    words = [sys.executable, "-c", PARENT, kind, "-c", CREATE, bundle.id, str(bundle.root), str(bundle.path)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_sibling_is_waited_for_by_the_callers_parent(bundle: Bundle) -> None:
    """The shim of an engine is the subreaper: it gets the exit status, the program that created is gone."""
    made, waited = create(bundle, "subreaper")

    assert waited == f"{made} 5"
    assert Container.load(bundle.root, bundle.id).status == "stopped"


def test_sibling_without_a_subreaper_is_refused_and_nothing_is_left(bundle: Bundle) -> None:
    """The process would become a child of the host's init, and its status would be lost."""
    refused, waited = create(bundle, "plain")

    assert refused.startswith("SetupError as_sibling")
    assert "PR_SET_CHILD_SUBREAPER" in refused
    assert waited == "no child"
    assert Container.list(bundle.root) == []


def enter(bundle: Bundle, kind: str) -> list[str]:
    """Start a tenant as a sibling in a new program; return what that and its parent print."""
    words = [sys.executable, "-c", PARENT, kind, "-c", EXEC, bundle.id, str(bundle.root)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_tenant_that_is_a_sibling(bundle: Bundle) -> None:
    """It is waited for by the caller's parent; without a subreaper it is refused, and nothing is left."""
    with running(bundle) as container:
        made, waited = enter(bundle, "subreaper")
        assert waited == f"{made} 5"
        refused, waited = enter(bundle, "plain")
        assert refused.startswith("SetupError as_sibling")
        assert waited == "no child"
        assert container._manager().processes() == [container.pid]
