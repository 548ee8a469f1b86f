"""Which flows `crewserve serve` means, found without importing any of them."""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crewserve.cli.errors import CannotStart
from crewserve.domain.ids import name_of

HINT = "crewserve serve path/to/main.py:FlowClass, or package.module:FlowClass"


@dataclass(frozen=True, slots=True)
class Found:
    """Import strings, and the folders they are imported from."""

    refs: tuple[str, ...]
    paths: tuple[str, ...]


def find(targets: Sequence[str], folder: Path) -> Found:
    """What *targets* name, or the flows of the CrewAI project in *folder*. Raises: CannotStart."""
    if not targets:
        return _join([_in_file(file, "") for file in _project_files(folder)])
    return _join([_target(target, folder) for target in targets])


def _join(found: Sequence[Found]) -> Found:
    found = _told_apart(found)
    refs = dict.fromkeys(ref for one in found for ref in one.refs)
    paths = dict.fromkeys(path for one in found for path in one.paths)
    names = {ref: name_of(ref.partition(":")[2]) for ref in refs}
    for name, times in Counter(names.values()).items():
        if times > 1:
            same = " and ".join(ref for ref in refs if names[ref] == name)
            message = f"Two flows would be called {name}: {same}"
            raise CannotStart(message, "rename one of the classes")
    return Found(tuple(refs), tuple(paths))


def _told_apart(found: Sequence[Found]) -> list[Found]:
    """Files of one name in different folders get their folder's name before theirs."""
    roots: dict[str, set[tuple[str, ...]]] = {}
    for one in found:
        for ref in one.refs:
            roots.setdefault(ref.partition(":")[0], set()).add(one.paths)
    doubled = {module for module, places in roots.items() if len(places) > 1}
    return [
        _below_folder(one) if any(ref.partition(":")[0] in doubled for ref in one.refs) else one
        for one in found
    ]


def _below_folder(found: Found) -> Found:
    [root] = map(Path, found.paths)
    if not root.name.isidentifier():
        raise CannotStart(f"{root.name} holds a file of the same name as another folder", HINT)
    refs = tuple(f"{root.name}.{ref}" for ref in found.refs)
    return Found(refs, (str(root.parent), str(root)))


def _target(target: str, folder: Path) -> Found:
    place, _, class_name = target.partition(":")
    if place.endswith(".py") or "/" in place:
        file = folder / place
        file = file / "main.py" if file.is_dir() else file
        if not file.is_file():
            raise CannotStart(f"There is no file {place}", HINT)
        return _in_file(file, class_name)
    return _in_module(place, class_name, folder)


def _in_module(module: str, class_name: str, folder: Path) -> Found:
    roots = [root for root in (folder / "src", folder) if root.is_dir()]
    for root in roots:
        base = root.joinpath(*module.split("."))
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                classes = _classes(file, class_name)
                refs = tuple(f"{module}:{name}" for name in classes)
                return Found(refs, (str(root.resolve()),))
    if not class_name or find_spec(module.partition(".")[0]) is None:
        raise CannotStart(f"There is no module {module} in {folder} or its src folder", HINT)
    return Found((f"{module}:{class_name}",), ())


def _in_file(file: Path, class_name: str) -> Found:
    """A file inside packages is imported by its full dotted name, as its own imports expect."""
    file = file.resolve()
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    module = ".".join(parts)
    return Found(tuple(f"{module}:{name}" for name in _classes(file, class_name)), (str(root),))


def _classes(file: Path, class_name: str) -> list[str]:
    if class_name:
        return [class_name]
    try:
        tree = ast.parse(file.read_text())
    except SyntaxError as error:
        raise CannotStart(f"{file.name} is not valid Python, line {error.lineno}") from error
    found = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and _is_flow(node)]
    if not found:
        raise CannotStart(f"{file} defines no class that derives from Flow", HINT)
    return found


def _is_flow(node: ast.ClassDef) -> bool:
    for base in node.bases:
        named = base.value if isinstance(base, ast.Subscript) else base
        name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
        if name == "Flow":
            return True
    return False


def _project_files(folder: Path) -> list[Path]:
    """``main.py`` of the project that `crewai create flow` made here."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text())
    except FileNotFoundError:
        project = {}
    except tomllib.TOMLDecodeError as error:
        raise CannotStart(f"pyproject.toml cannot be read: {error}") from error
    if project.get("tool", {}).get("crewai", {}).get("type") != "flow":
        raise CannotStart(f"No flow was named, and {folder} is no CrewAI flow project", HINT)
    files = list(_main_files(folder, project.get("project", {}).get("name", "")))
    if not files:
        raise CannotStart("This CrewAI project has no src/<package>/main.py", HINT)
    return files


def _main_files(folder: Path, name: str) -> Iterator[Path]:
    named = folder / "src" / name.replace("-", "_") / "main.py"
    if named.is_file():
        yield named
    else:
        yield from sorted(folder.glob("src/*/main.py"))
