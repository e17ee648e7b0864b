"""The showcase: its counts, and its list of failures, which lose no count."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from distio import Errors, Ok

GOOD = {
    "a.py": b"class A:\n    def long(self):\n        x = 1\n        return x\n",
    "b.py": b"async def short(): pass\ndef other(): pass",
    "deep/c.py": b"# only a comment\n\nx = x + x\n",
    "deep/empty.py": b"",
    "latin.py": b"# -*- coding: latin-1 -*-\nname = '\xe9'\n",
    "warns.py": b"pattern = '\\d'\r\n",
}
BAD = {
    "bad/a_deep.py": b"-" * 100_000 + b"1\n",
    "bad/codec.py": b"# -*- coding: uft-8 -*-\n",
    "bad/indent.py": b"if 1:\n        x\n    y\n",
    "bad/nul.py": b"x = 1\0\n",
    "bad/print.py": b"print 'hello'\n",
    "bad/open.py": b"x = (1,\n",
    "bad/utf8.py": b"x = 1\ny = '\xff'\n",
}
LEFT_OUT = {"notes.txt": b"x", "site-packages/p.py": b"installed = 1\n"}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "index_sources.py"
    spec = importlib.util.spec_from_file_location("index_sources_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, {**GOOD, **BAD, **LEFT_OUT})
    return tmp_path


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(source)


def report(example: ModuleType, root: Path, threads: int = 2) -> Any:
    result = example.program(root, lambda: None).run(None, threads)
    assert isinstance(result, Ok), result
    return result.success


def test_report_counts_files_lines_classes_functions_and_names(
    example: ModuleType, root: Path
) -> None:
    found = report(example, root)
    assert found.files == len(GOOD)
    assert found.lines == 4 + 2 + 3 + 0 + 2 + 1
    assert found.classes == 1
    assert found.functions == 3
    assert found.names["x"] == 2 + 3
    assert "installed" not in found.names
    assert [(f.lines, f.file, f.line, f.name) for f in found.largest] == [
        (3, "a.py", 2, "long"),
        (1, "b.py", 1, "short"),
        (1, "b.py", 2, "other"),
    ]


def test_report_lists_files_that_are_not_python_with_a_reason(
    example: ModuleType, root: Path
) -> None:
    failures = report(example, root).failures
    assert [failure.file for failure in failures] == sorted(BAD)
    assert all(": " in failure.reason for failure in failures)
    assert "uft-8" in failures[1].reason


def test_report_with_failures_loses_no_counts(example: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "good", GOOD)
    write(tmp_path / "both", {**GOOD, **BAD})
    good, both = report(example, tmp_path / "good"), report(example, tmp_path / "both")
    assert good.failures == []
    assert both.totals() == good.totals()
    assert both.names == good.names
    assert both.largest == good.largest


def test_report_that_is_merged_equals_the_sum_of_its_parts(
    example: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_batch = report(example, root)
    monkeypatch.setattr(example, "FILES_PER_BATCH", 1)
    assert report(example, root) == one_batch
    parts = [
        example.Report.of_file(example.index_source(name, source)) for name, source in GOOD.items()
    ]
    failures = example.Report(failures=one_batch.failures)
    assert example.Report.merge([failures, *reversed(parts)]) == one_batch


@pytest.mark.slow
def test_report_is_the_same_with_any_number_of_threads(example: ModuleType, root: Path) -> None:
    first = report(example, root, 1)
    assert all(report(example, root, 4) == first for _ in range(5))


def test_report_names_the_largest_functions_of_all_files(
    example: ModuleType, tmp_path: Path
) -> None:
    sources = {f"{n:02}.py": f"def f{n}():\n".encode() + b"    pass\n" * (n + 1) for n in range(40)}
    write(tmp_path, sources)
    assert [f.name for f in report(example, tmp_path).largest] == [
        f"f{n}" for n in range(39, 29, -1)
    ]


def test_program_reports_each_file_as_done_once(example: ModuleType, root: Path) -> None:
    told: list[int] = []
    assert example.program(root, lambda: told.append(1)).run(None, 2).is_ok()
    assert len(told) == len(GOOD) + len(BAD)


def test_batches_hold_every_file_once_and_are_of_similar_size(example: ModuleType) -> None:
    sizes = {f"{n}.py": 1000 + 37 * n % 500 for n in range(1000)}
    batches = example.in_batches(sizes)
    assert sorted(name for batch in batches for name in batch) == sorted(sizes)
    loads = [sum(sizes[name] for name in batch) for batch in batches]
    assert max(loads) - min(loads) <= 1500
    assert example.in_batches(dict(reversed(sizes.items()))) == batches


def test_report_of_an_empty_directory_is_empty(example: ModuleType, tmp_path: Path) -> None:
    assert report(example, tmp_path) == example.Report()


def test_program_without_a_directory_is_an_expected_error(
    example: ModuleType, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    assert example.main(str(missing)).run(None) == Errors([f"{missing} is not a directory"])


def test_file_that_is_missing_is_an_expected_error(example: ModuleType, tmp_path: Path) -> None:
    result = example.index_file(tmp_path, "gone.py").run(None)
    assert isinstance(result, Errors)
    assert result.errors[0].file == "gone.py"


def test_report_reads_as_text(example: ModuleType, root: Path) -> None:
    text = str(example.main(str(root)).run(None).success)
    assert text.startswith("6 files, 12 lines, 1 classes, 3 functions, ")
    assert "long (a.py:2)" in text
    assert "bad/codec.py: SyntaxError: " in text


def test_parser_that_stumbles_over_another_tries_again(
    example: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = report(example, root, threads=1)
    parse = example.ast.parse
    stumbled: list[tuple[Any, ...]] = []

    def stumble_once(*args: Any) -> Any:
        if not stumbled:
            stumbled.append(args)
            raise SystemError("AST constructor recursion depth mismatch (before=33, after=28)")
        return parse(*args)

    monkeypatch.setattr(example.ast, "parse", stumble_once)
    assert report(example, root, threads=1) == expected
    assert stumbled
