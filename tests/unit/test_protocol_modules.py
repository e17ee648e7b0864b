"""Each file in a package of the protocol is imported with it, and has the name of a feature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from distio.coordination import coordinator, member
from distio.coordination.dispatch import answers, handles
from distio.protocol.base import Message
from distio.protocol.codec import Batch


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two messages, each in a file of its own."""
    folder = tmp_path / "conversations"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from distio.protocol.importing import import_modules\n"
        "class Message: pass\n"
        "import_modules(__name__, __path__)\n"
    )
    for name in ("goodbye", "hello"):
        (folder / f"{name}.py").write_text(
            f"from conversations import Message\nclass {name.title()}(Message): pass\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder.name


def test_package_that_imports_its_modules_knows_the_types_of_all_in_order_of_names(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = __import__(package)
    for name in [package, f"{package}.goodbye", f"{package}.hello"]:
        monkeypatch.delitem(sys.modules, name)
    types = [each.__name__ for each in imported.Message.__subclasses__()]
    assert types == ["Goodbye", "Hello"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distio.protocol.messages", "distio.protocol.requests"])
def test_package_of_the_protocol_imports_each_of_its_files(name: str) -> None:
    """In a process of its own: others of distio's modules import some of the files as well."""
    script = f"import sys, {name} as package; print(package.__file__, *sys.modules, sep=chr(10))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    package, *imported = done.stdout.splitlines()
    files = {f"{name}.{each.stem}" for each in Path(package).parent.glob("[!_]*.py")}
    assert files
    assert files <= set(imported)


@pytest.mark.parametrize("message", [Batch, *Message.__subclasses__()])
def test_file_with_messages_leaves_no_annotation_to_be_compiled(message: type) -> None:
    """In each process, by its decoder."""
    for each in [message, *message.__subclasses__()]:
        assert not any(isinstance(hint, str) for hint in each.__annotations__.values()), each


def handled() -> Iterator[tuple[str, type]]:
    """The folder of each feature, and the types of the messages and requests that it handles."""
    for features in (coordinator.Features, member.Features):
        for feature in get_type_hints(features).values():
            for method in [*handles.methods_of(feature), *answers.methods_of(feature)]:
                hints = get_type_hints(method)
                hints.pop("return")
                *_, kind = hints.values()
                for each in get_args(kind) or [kind]:
                    yield feature.__module__.split(".")[2], each


def test_message_or_request_is_defined_in_the_file_named_as_the_folder_that_handles_it() -> None:
    found = [(kind.__name__, kind.__module__.split(".")[-1], folder) for folder, kind in handled()]
    assert len(found) > 60
    assert [each for each in found if each[1] != each[2]] == []
