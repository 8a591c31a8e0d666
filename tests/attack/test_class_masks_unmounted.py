"""The container's root tries to take masks and read-only paths off again, or to get a procfs without them."""

from __future__ import annotations

import pytest

from libcontainer import Container

from ..integration.conftest import Bundle, Result
from .hostile import grant, grant_all

TRY = """
for path in /proc/kcore /proc/keys /sys/firmware /proc/sys /proc /sys; do
  umount $path 2>/dev/null && echo unmounted $path
  umount -l $path 2>/dev/null && echo detached $path
  mount --move $path /mnt 2>/dev/null && echo moved $path
done
for path in /sys/firmware /proc/sys /proc/sysrq-trigger /sys; do
  mount -o remount,bind,rw $path 2>/dev/null && echo remounted $path
done
mkdir -p /tmp/proc /tmp/sys
mount -t proc proc /tmp/proc 2>/dev/null && echo fresh proc
mount -t sysfs sysfs /tmp/sys 2>/dev/null && echo fresh sysfs
mount --bind /proc /tmp/proc 2>/dev/null && echo bound && umount /tmp/proc/kcore 2>/dev/null && echo unmasked
(echo evil > /proc/sys/kernel/core_pattern) 2>/dev/null && echo written
[ -s /proc/kcore ] && head -c 1 /proc/kcore 2>/dev/null | grep -q . && echo read
echo done
"""
NESTED = f"cat > /tmp/try <<'X'\n{TRY}\nX\nunshare -U -r -m -p -f sh /tmp/try"


@pytest.fixture
def masked(bundle: Bundle) -> Bundle:
    """A bundle with every kind of mask, and a proc and a sysfs that could be had anew."""
    bundle.linux["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/acpi"]
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/proc/bus", "/proc/irq", "/proc/sysrq-trigger"]
    return bundle


def test_root_without_cap_sys_admin_changes_no_mount(masked: Bundle) -> None:
    """The usual container."""
    assert masked.sh(TRY).stdout == "done\n"


@pytest.mark.parametrize("userns", [False, True])
def test_root_of_a_nested_user_namespace_changes_no_mount(masked: Bundle, userns: bool) -> None:
    """There it has CAP_SYS_ADMIN over a copy of the mounts, in which they are locked; and the kernel gives out no
    procfs without masks where none is visible (mount_namespaces(7)).
    """
    grant(masked, "CAP_SETFCAP")  # without it root may not be mapped (user_namespaces(7))
    if userns:
        masked.add_userns()
    lines = masked.sh(NESTED).lines
    # A bind of what is visible, masks included, is no gain.
    assert [line for line in lines if line not in ("bound", "done")] == []
    assert lines[-1] == "done", "the namespaces could not be made"


def test_root_of_the_containers_own_user_namespace_gains_no_access(masked: Bundle) -> None:
    """With CAP_SYS_ADMIN over its own mounts it may take the masks off, as everywhere; what is behind them stays
    the host's: neither kernel memory can be read nor the host's parameters written.
    """
    masked.add_userns()
    grant_all(masked)
    lines = masked.sh(TRY).lines
    assert "written" not in lines
    assert "read" not in lines


def nested_without_pivot(masked: Bundle) -> Result:
    """Run the nested attack in a container whose root was moved instead of pivoted."""
    masked.process["args"] = ["/bin/sh", "-c", NESTED]
    grant(masked, "CAP_SETFCAP")
    masked.save()
    with open(masked.path / "out", "w+b") as out:
        builder = masked.builder().with_stdout(out).as_init(masked.path).with_no_pivot(True)
        with builder.build() as container:
            container.start()
            status = container.wait(20)
        out.seek(0)
        return Result(status, out.read(), b"")


def test_no_procfs_of_the_host_is_left_where_pivot_root_cannot_be_used(masked: Bundle) -> None:
    """Below a moved root the host's mounts are still there: by its complete /proc the kernel would give out another."""
    lines = nested_without_pivot(masked).lines
    assert [line for line in lines if line not in ("bound", "done")] == []
    assert lines[-1] == "done", "the namespaces could not be made"
    assert Container.list(masked.root) == []
