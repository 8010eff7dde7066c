"""Tracebacks that pytest can print, wherever a time limit's signal came."""

from types import TracebackType


def give_lines(error: BaseException) -> BaseException:
    """Gives entries that have no line that of their function, in the error and in those that it
    came from; returns it.

    Some instructions that the compiler adds belong to no line. Where a signal meets one of them,
    pytest computes with the missing number and ends the whole run, without a word about any test.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        if (one := waiting.pop()) is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = _with_lines(one.__traceback__)
            waiting += [one.__cause__, one.__context__]
    return error


def _with_lines(trace: TracebackType | None) -> TracebackType | None:
    entries: list[TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    for entry in reversed(entries):
        trace = TracebackType(
            trace,
            entry.tb_frame,
            entry.tb_lasti,
            entry.tb_lineno or entry.tb_frame.f_code.co_firstlineno,
        )
    return trace
