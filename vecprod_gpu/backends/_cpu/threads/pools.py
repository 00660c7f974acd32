"""Row blocks on threads: a pool that starts at the first large call, and anew to grow or after a fork.

Numba's own parallel loops are not used, because under their default layer (GNU OpenMP) a child that
is forked after a parallel call is killed at its first one.  The kernels here release the GIL and
each writes only its own block, so that neither the number of threads nor their order can be seen in
the result.
"""

import contextvars
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Protocol

from .places import Places

SLEEPS = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"  # threads are not to wait awake
SERIAL_WORK = 1 << 20  # multiplications; below this a second thread costs more than it brings
SOON = 1e-3  # seconds at most from the end of a call to the beginning of one that follows it


class _Pool(ThreadPoolExecutor):
    """A pool that tells its size; its threads start as they are needed, away from their caller."""

    def __init__(self, size: int) -> None:
        self.places = Places()
        super().__init__(size, thread_name_prefix="vecprod", initializer=self.places.arrive)
        self.size = size

    def start(self, task: Callable[[], None], threads: int) -> bool:
        """Have so many threads do a task each, in copies of the caller's context, where np.errstate lives.

        Returns
        -------
        bool
            False where no more can be started, though a task is queued; or the interpreter shuts down.
        """
        self.places.make_room()
        try:
            for _ in range(threads):
                self.submit(self.places.work, partial(contextvars.copy_context().run, task))
        except RuntimeError:
            return False
        return True


class Seats(Protocol):
    """Where threads wait awake; see `teams`."""

    def sit_down(self) -> None:
        """Wait for orders, and return when none has come for a while."""

    def dismiss(self) -> None:
        """Have the threads that wait return."""


_lock = threading.Lock()
_pool: _Pool | None = None
_seats: Seats | None = None
_seated: list[None] = []  # one for each thread that was sent to a seat and is not back
_last_moment = 0.0  # when a call began or ended
_limit: int | None = None
_shares = contextvars.ContextVar("vecprod_shares_processors", default=False)
_is_one_of_many = contextvars.ContextVar("vecprod_is_one_of_many", default=False)


def thread_count() -> int:
    """Threads that a call may use."""
    if _is_one_of_many.get():
        return 1
    if _limit is not None:
        return _limit
    return 1 if _shares.get() else most_threads()


@contextmanager
def sharing_processors() -> Iterator[None]:
    """One thread a call, unless `limit_threads` allows more, in tasks that a pool runs one a processor."""
    is_of_pool = (
        threading.current_thread() is not threading.main_thread()
        or multiprocessing.parent_process() is not None
    )
    token = _shares.set(is_of_pool)
    try:
        yield
    finally:
        _shares.reset(token)


@contextmanager
def as_one_of_many() -> Iterator[None]:
    """One thread a call, where calls run side by side on all of them."""
    token = _is_one_of_many.set(True)
    try:
        yield
    finally:
        _is_one_of_many.reset(token)


def limit_threads(count: int) -> None:
    """Let each call of this process use so many threads; the calls that run already keep theirs."""
    global _limit
    _limit = count


def most_threads() -> int:
    """``NUMBA_NUM_THREADS``, or the processors this process may run on."""
    configured = os.environ.get("NUMBA_NUM_THREADS", "")
    if configured.isdecimal() and int(configured) > 0:
        return int(configured)
    return _processors()


def _processors() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def may_wait_awake(threads: int) -> bool:
    """Whether there is a processor for each of so many threads, and the user does not object."""
    return not SLEEPS and threads <= _processors()


def calls_follow() -> bool:
    """Whether calls that ask this follow each other so closely that threads had better wait for the next."""
    global _last_moment
    before, _last_moment = _last_moment, monotonic()
    return _last_moment - before < SOON


def call_ends() -> None:
    """Note that a call ends which others may follow; those of less than `SOON` need not."""
    global _last_moment
    _last_moment = monotonic()


def anyone_waits() -> bool:
    """Whether a thread was sent to wait awake, and is not back."""
    return bool(_seated)


def seat(threads: int, seats: Seats) -> None:
    """Have so many threads of the pool wait awake, those included who do already."""
    global _seats
    _seats = seats
    while len(_seated) < threads:
        _seated.append(None)
        if not _pool_of(thread_count()).start(partial(_sit, seats), 1):
            return


def roam() -> None:
    """Let the thread that calls this, if it is of the pool, run anywhere, with all that its task starts."""
    if _pool is not None:
        _pool.places.roam()


def _sit(seats: Seats) -> None:
    try:
        roam()  # its callers may come to where it is
        seats.sit_down()
    finally:
        _seated.pop()


def for_each_block(task: Callable[[int, int], None], count: int, block: int) -> None:
    """Call ``task(start, stop)`` over ``range(count)`` in blocks, on as many threads as are useful.

    See `for_each_part`.
    """
    stops = itertools.chain(range(block, count, block), (count,))
    for_each_part(task, zip(range(0, count, block), stops, strict=False), -(-count // block))


def for_each_block_of(work: int, task: Callable[[int, int], None], count: int, block: int) -> None:
    """`for_each_block`, or on this thread alone where the multiplications in all are few."""
    if work <= SERIAL_WORK:
        task(0, count)
    else:
        for_each_block(task, count, block)


def for_each_part(task: Callable[[int, int], None], parts: Iterator[tuple[int, int]], count: int) -> None:
    """Call ``task(start, stop)`` for some parts, so many in all, on as many threads as are useful.

    The calling thread works too, so a pool whose threads are all busy delays nobody.  After an
    error or an interrupt no new part begins, and none is running any more when it is raised.
    Threads take the parts in turn, so ``next`` has to be one step of the interpreter, as it is of a list's.
    """
    stopped = False
    errors: list[BaseException] = []
    helpers = _Helpers()

    def work() -> None:
        nonlocal stopped
        for start, stop in parts:
            if stopped:
                return
            try:
                task(start, stop)
            except BaseException:
                stopped = True
                raise

    def help_out() -> None:
        helpers.begun.append(None)  # before `stopped` is read: whoever waits sees this, or no part begins
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            helpers.ended.append(None)
            helpers.bell.put(None)

    threads = thread_count()
    try:
        _submit(help_out, min(threads, count) - 1, threads)
        work()
    finally:
        stopped = True
        helpers.wait()
    call_ends()
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # the error knows this frame: a cycle that would keep the arrays alive


class _Helpers:
    """The threads that work on one call, counted by themselves.

    Their futures cannot tell: a pool that can start no thread raises with the work already queued, and
    an interrupt may come before a future has reached its caller.  Each of the three parts changes in
    one step, so that an interrupt finds them true.

    Attributes
    ----------
    begun, ended : list
        One element for each helper that has begun, and for each that has ended.
    bell : SimpleQueue
        Rung after every growth of `ended`.
    """

    def __init__(self) -> None:
        self.begun: list[None] = []
        self.ended: list[None] = []
        self.bell: SimpleQueue[None] = SimpleQueue()

    def wait(self) -> None:
        """Return, or raise the interrupts that came meanwhile, when all that began have ended."""
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                while len(self.ended) < len(self.begun):
                    self.bell.get()
                break
            except KeyboardInterrupt as raised:
                interrupt = raised
        if interrupt is not None:
            raise interrupt


def _submit(work: Callable[[], None], helpers: int, threads: int) -> None:
    """Start `work` on so many helpers of a pool of threads, those that wait awake included."""
    if helpers <= 0:
        return
    _pool_of(threads).start(work, helpers)
    if _seated and _seats is not None:
        _seats.dismiss()


def _pool_of(size: int) -> _Pool:
    """The pool, of at least that size.

    A smaller one is let go rather than shut down: a call that is about to give it work still can, and its
    threads end when the last such call has.
    """
    global _pool
    with _lock:
        if _pool is None or _pool.size < size:
            _pool = _Pool(size)
        return _pool


def _forget_pool() -> None:
    """In a forked child, whose copy of the pool has no threads and whose lock may be held by nobody."""
    global _pool, _lock
    _pool = None
    _seated.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
