"""Calls that block for a moment, made from asyncio: each in a thread of its own, and never left half done."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call `function` in a thread; when cancelled, wait for its end before the cancellation goes on."""
    work = start_thread(function, *args, **kwargs)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await settle(work)
        raise


def start_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
    """Call `function` in a thread of its own and return the future of its result.

    Not the loop's pool of threads: a hook or a slow file system would fill it and stop all others, and what
    has been begun there cannot be waited for once the pool is shut down.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def work() -> None:
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            loop.call_soon_threadsafe(_fail, future, error)
        else:
            loop.call_soon_threadsafe(succeed, future, result)

    threading.Thread(target=work, name=f"{function.__module__} {function.__name__}").start()
    return future


def succeed(future: asyncio.Future[_T], result: _T) -> None:
    """Give the future its result, unless it has one or was cancelled."""
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[_T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def settle(future: asyncio.Future[_T]) -> None:
    """Wait for `future` however often we are cancelled meanwhile: a cancellation is on its way already."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # marks it as seen: it is told by what is on its way, or by the caller
