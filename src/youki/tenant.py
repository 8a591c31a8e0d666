"""From the options of `exec` to one more process in a container.

On the hot path: imports the library's builder only.
"""

from __future__ import annotations

from libcontainer.builder import ContainerBuilder
from libcontainer.errors import InvalidArgument
from youki.settings import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.tenant import TenantContainerBuilder
    from youki.parser import Arguments

LARGEST_ID = 2**32 - 2  # 4294967295 is no id: setresuid(2)


def tenant(args: Arguments, settings: Arguments) -> TenantContainerBuilder:
    """Return the builder that the command line asks for. Raises InvalidArgument."""
    uid, gid = user(args.user)
    builder = (
        ContainerBuilder(args.id)
        .with_root_path(state_root(settings))
        .with_pid_file(args.pid_file)
        .with_console_socket(args.console_socket)
        .with_preserved_fds(args.preserve_fds)
        .as_tenant()
        .with_process(args.process)
        .with_env(args.env)
        .with_cwd(args.cwd)
        .with_user(uid)
        .with_group(gid)
        .with_additional_gids([number("--additional-gids", text) for text in args.additional_gids])
        .with_capabilities(args.cap)
        .with_no_new_privs(args.no_new_privs)
        .with_apparmor(args.apparmor)
        .with_process_label(args.process_label)
        .with_terminal(args.tty)
        .with_detach(args.detach)
        .with_ignore_paused(args.ignore_paused)
        .with_sub_cgroup(args.cgroup)
        .with_pidfd_socket(args.pidfd_socket)
    )
    return builder.with_container_args(args.command) if args.command else builder


def user(text: str | None) -> tuple[int | None, int | None]:
    """Return user and group of `UID[:GID]`, None for what is not said."""
    if text is None:
        return None, None
    uid, colon, gid = text.partition(":")
    return number("--user", uid), number("--user", gid) if colon else None


def number(option: str, text: str) -> int:
    """Return an id, read as a whole: a name is none, and no part of it becomes 0 (CVE-2026-30892)."""
    if text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= LARGEST_ID:
        return int(text)
    raise InvalidArgument(
        f"exec: option {option} is {text!r}, expected numbers from 0 to {LARGEST_ID}",
        remedy="names are the image's matter: look the numbers up in its /etc/passwd and /etc/group",
    )
