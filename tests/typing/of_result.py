"""The types that checkers infer of `result`: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_type

from distio import (
    ComputationStatus,
    Ok,
    Panic,
    Result,
    TracedException,
    result,
    seq,
)


def double(n: int) -> int:
    return 2 * n


def half(n: int) -> Result[str, int]:
    return Ok(n // 2) if n % 2 == 0 else result.error("odd")


def results(ok: Result[str, int]) -> None:
    assert_type(result.ok(5), Result[Any, int])
    assert_type(result.pure(5), Result[Any, int])
    assert_type(result.error("no"), Result[str, Any])
    assert_type(result.errors("no", "nor this"), Result[str, Any])
    assert_type(result.panic(ValueError()), Result[Any, Any])
    assert_type(result.zip([ok, ok]), Result[str, list[int]])
    assert_type(result.sequence([ok, ok]), Result[str, int])
    assert_type(result.traverse([1], half), Result[str, list[int]])
    assert_type(result.safe(half)(5), Result[str, int])
    assert_type(result.returns_result(double)(5), Result[Any, int])
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
    assert_type(ok.catch(lambda errs: half(1)), Result[str, int])
    assert_type(ok.unsafe_catch(lambda errs: half(1)), Result[str, int])
    assert_type(ok.recover(lambda es, errs: half(1)), Result[str, int])
    assert_type(ok.unsafe_recover(lambda es, errs: half(1)), Result[str, int])
    assert_type(result.ok(double).ap(ok), Result[Any, int])
    assert_type(result.ok(double).unsafe_ap(ok), Result[Any, int])
    assert_type(ok.zip(ok), Result[str, list[int]])
    assert_type(result.ok(ok).flatten(), Result[Any, int])
    assert_type(ok.unsafe_get(), int)
    assert_type(ok.raise_on_panic(), Result[str, int])
    assert_type(ok.is_ok(), bool)
    assert_type(ok.is_error(), bool)
    assert_type(ok.is_panic(), bool)
    assert_type(ok.to_computation_status(), ComputationStatus)


def panics(outcome: Result[str, int]) -> None:
    if isinstance(outcome, Panic):
        assert_type(outcome.exceptions, list[TracedException])
