"""The types that checkers infer of `result`: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_never, assert_type

from distio import (
    IO,
    Cluster,
    ComputationStatus,
    Errors,
    Ok,
    Panic,
    Result,
    RunHandle,
    TracedException,
    io,
    result,
    seq,
)


def double(n: int) -> int:
    return 2 * n


def half(n: int) -> Result[str, int]:
    return Ok(n // 2) if n % 2 == 0 else result.error("odd")


def results(ok: Result[str, int]) -> None:
    assert_type(result.ok(5), Result[Never, int])
    assert_type(result.pure(5), Result[Never, int])
    assert_type(result.error("no"), Result[str, Never])
    assert_type(result.errors("no", "nor this"), Result[str, Never])
    assert_type(result.panic(ValueError()), Result[Never, Never])
    assert_type(result.panic(ValueError(), errors=["no"]), Result[str, Never])
    assert_type(result.zip([ok, ok]), Result[str, list[int]])
    assert_type(result.sequence([ok, ok]), Result[str, int])
    assert_type(result.traverse([1], half), Result[str, list[int]])
    assert_type(result.safe(half)(5), Result[str, int])
    assert_type(result.returns_result(double)(5), Result[Never, int])
    assert_type(seq(1, 2), Any)
    assert_type(ok.map(str), Result[str, str])
    assert_type(ok.unsafe_map(str), Result[str, str])
    assert_type(ok.flat_map(half), Result[str, int])
    assert_type(ok.unsafe_flat_map(half), Result[str, int])
    assert_type(ok.tri_map(str, len, lambda e: e), Result[int, str])
    assert_type(ok.unsafe_tri_map(str, len, lambda e: e), Result[int, str])
    assert_type(ok.fold(str, str, lambda es, errs: ""), str | Panic[Never, Never])
    assert_type(ok.unsafe_fold(str, str, lambda es, errs: ""), str)
    assert_type(ok.fold_raise(str, str), str | Panic[Never, Never])
    assert_type(ok.unsafe_fold_raise(str, str), str)
    assert_type(ok.map_error(len), Result[int, int])
    assert_type(ok.unsafe_map_error(len), Result[int, int])
    assert_type(ok.map_panic(lambda e: e), Result[str, int])
    assert_type(ok.unsafe_map_panic(lambda e: e), Result[str, int])
    assert_type(ok.catch(lambda errs: result.ok(5)), Result[Never, int])
    assert_type(ok.catch(lambda errs: half(1)), Result[str, int])
    assert_type(ok.unsafe_catch(lambda errs: half(1)), Result[str, int])
    assert_type(ok.recover(lambda es, errs: half(1)), Result[str, int])
    assert_type(ok.unsafe_recover(lambda es, errs: half(1)), Result[str, int])
    assert_type(result.ok(double).ap(ok), Result[str, int])
    assert_type(result.ok(double).unsafe_ap(ok), Result[str, int])
    assert_type(ok.zip(ok), Result[str, list[int]])
    assert_type(result.ok(ok).flatten(), Result[str, int])
    assert_type(ok.get(), int)
    assert_type(ok.unsafe_get(), int)
    assert_type(ok.raise_on_panic(), Result[str, int])
    assert_type(ok.is_ok(), bool)
    assert_type(ok.is_error(), bool)
    assert_type(ok.is_panic(), bool)
    assert_type(ok.to_computation_status(), ComputationStatus)


def narrowed(outcome: Result[str, int]) -> None:
    if isinstance(outcome, Panic):
        assert_type(outcome.exceptions, list[TracedException])


def a_result_or_not(value: str | Result[str, int]) -> int | str:
    if isinstance(value, Ok | Errors | Panic):
        assert_type(value, Result[str, int])
        return 1
    assert_type(value, str)
    return value


# A checker that doesn't take these for exhaustive misses a return statement.


def three_cases(outcome: Result[str, int]) -> int:
    match outcome:
        case Ok(value):
            return assert_type(value, int)
        case Errors(errors):
            return len(assert_type(errors, list[str]))
        case Panic(exceptions, errors):
            assert_type(errors, list[str])
            return len(assert_type(exceptions, list[TracedException]))


def failures_in_one_case(outcome: Result[str, int]) -> int:
    match outcome:
        case Ok(success=value):
            return value
        case Errors() | Panic():
            return 0


def the_rest_is_never(outcome: Result[str, int]) -> None:
    match outcome:
        case Ok() | Errors() | Panic():
            pass
        case other:  # pyright: ignore[reportUnnecessaryComparison]  # as it should be
            assert_never(other)


async def what_runs_return(
    program: IO[None, str, int], cluster: Cluster, handle: RunHandle[str, int]
) -> int:
    assert_type(program.run(None), Result[str, int])
    match program.run(None):
        case Ok(value):
            return assert_type(value, int)
        case Errors(_):
            return 1
        case Panic(_, _):
            pass
    match await program.run_async(None):
        case Ok(value):
            return assert_type(value, int)
        case Errors(_):
            return 2
        case Panic(_, _):
            pass
    match cluster.run(program, None):
        case Ok(value):
            return assert_type(value, int)
        case Errors(errors):
            return len(assert_type(errors, list[str]))
        case Panic(_, _):
            pass
    match handle.result():
        case Ok(value):
            return assert_type(value, int)
        case Errors(errors):
            return len(assert_type(errors, list[str]))
        case Panic(_, _):
            return 3


def what_a_program_sees(program: IO[None, str, int]) -> None:
    def attempted(outcome: Result[str, int]) -> IO[None, Never, int]:
        match outcome:
            case Ok(value):
                return io.pure(value)
            case Errors(errors):
                return io.pure(len(errors))
            case Panic(exceptions, _):
                return io.pure(len(exceptions))

    program.attempt().flat_map(attempted)
    program.finally_(attempted)
    program.on_failure(attempted)
