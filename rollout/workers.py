"""Processes that share the work of a simulation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@contextmanager
def spread(
    work: Callable[[Task], Answer], tasks: Sequence[Task], workers: int | None = None
) -> Iterator[Iterator[tuple[int, Answer]]]:
    """The answers with the places of their tasks, as they come, from as many processes as there are cores.

    With one worker the work is done here, when the next answer is asked for. With more it is under way while
    the caller does something else, and is given up when he leaves early.
    """
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    if workers <= 1:
        yield ((place, work(task)) for place, task in enumerate(tasks))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent) as pool:
        places: dict[Future[Answer], int] = {pool.submit(work, task): at for at, task in enumerate(tasks)}
        try:
            yield ((places[future], future.result()) for future in as_completed(places))
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: end when the one who started it does, also when that one is killed.

    A pool alone would leave it waiting.
    """
    parent = parent_process()
    assert parent is not None

    def watch_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
