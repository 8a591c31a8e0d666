"""A restore from asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libcontainer import restored

if TYPE_CHECKING:
    from libcontainer.aio import Container


class RestoredContainerBuilder(restored.RestoredContainerBuilder):
    """As libcontainer.RestoredContainerBuilder, with an awaitable `build`."""

    async def build(self) -> Container:  # type: ignore[override]  # the twin differs in just this
        """Restore the container. Cancelled, it waits for the step in progress and removes what came of it."""
        from libcontainer.aio import build

        return await build(self, restored.RestoredContainerBuilder.build)
