"""Public objects of installed Python packages and their docstrings.

Modules are imported, because only then do re-exports, compiled functions and generated docstrings show. What is
private, a test, or imported for its side effects is left alone.
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from sparsemill.errors import UserError

# Parts of module names: tests and build tools, entry points, internals without an underscore (pandas.core, numpy.core),
# vendored code, and modules that change their package when imported (sklearn.experimental).
_SKIPPED = {
    *("tests", "test", "conftest", "estimator_checks"),
    *("setup", "distutils", "f2py"),
    *("core", "compat", "matlib", "externals", "experimental"),
}


class Described(NamedTuple):
    """A public object.

    Attributes:
        path: its shortest public path, for example `scipy.optimize.minimize`.
        doc: its own docstring, without common indentation.
    """

    path: str
    doc: str


def described_objects(package: str) -> list[Described]:
    """The public functions, classes, methods and properties of a package that have a docstring of their own.

    Each object is there once, under the shortest of its public paths, in the order of the paths. Attributes that warn
    of their deprecation when touched are left out.

    Args:
        package: importable name of a top-level package.

    Raises:
        UserError: the package cannot be imported.
    """
    found: dict[int, tuple[str, Any]] = {}
    # Where two objects share an identity the shorter path wins, then the first in alphabetical order.
    for path, item in _attributes(package):
        if id(item) not in found or _length(path) < _length(found[id(item)][0]):
            found[id(item)] = (path, item)
    described = (Described(path, inspect.cleandoc(_own_doc(item))) for path, item in found.values())
    return sorted(entry for entry in described if entry.doc)


def _length(path: str) -> tuple[int, int, str]:
    return path.count("."), len(path), path


def _attributes(package: str) -> Iterator[tuple[str, Any]]:
    for module in _modules(package):
        for name in sorted(getattr(module, "__all__", None) or vars(module)):
            item = _get(module, name)
            if not _is_public(name) or not _belongs(item, package) or _is_borrowed(item, module):
                continue
            yield f"{module.__name__}.{name}", item
            if inspect.isclass(item):
                yield from _members(f"{module.__name__}.{name}", item, package)


def _members(path: str, owner: type, package: str) -> Iterator[tuple[str, Any]]:
    """Members that the class or a base class of the same package defines; accessors (`Series.str`) are entered."""
    seen: set[str] = set()
    for base in owner.__mro__:
        names = sorted(name for name in vars(base).keys() - seen if _is_public(name))
        seen.update(names)
        if not _belongs(base, package):
            continue
        for name in names:
            if inspect.isclass(item := vars(base)[name]):
                continue
            if inspect.isclass(accessor := _get(owner, name)) and _belongs(accessor, package):
                yield f"{path}.{name}", accessor
                yield from _members(f"{path}.{name}", accessor, package)
            else:
                yield f"{path}.{name}", item.__func__ if isinstance(item, classmethod | staticmethod) else item


def _modules(package: str) -> Iterator[ModuleType]:
    root = _import(package)
    if root is None:
        raise UserError(f"package {package!r} cannot be imported; install it, or take it out of `packages`")
    pending = [root]
    while pending:
        module = pending.pop()
        yield module
        names = [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]
        children = [_import(f"{module.__name__}.{name}") for name in sorted(names) if _is_public(name)]
        pending.extend(child for child in children if child is not None)


def _import(name: str) -> ModuleType | None:
    """Import a module without a sound; None where it needs something that is not installed."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except Exception:
            return None


def _get(owner: object, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return getattr(owner, name)
        except Exception:  # deprecated, or it needs something that is not installed
            return None


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in _SKIPPED


def _belongs(item: object, package: str) -> bool:
    module = getattr(item, "__module__", None)
    return isinstance(module, str) and module.split(".")[0] == package


def _is_borrowed(item: object, module: ModuleType) -> bool:
    """Whether a module that lists no public names, and is no package that re-exports, only imported the object."""
    listed = hasattr(module, "__all__") or hasattr(module, "__path__")
    return not listed and getattr(item, "__module__", None) != module.__name__


def _own_doc(item: Any) -> str:
    """The docstring of the object itself, not of its class or base class; "" where there is none."""
    if inspect.isclass(item):
        doc = vars(item).get("__doc__")
    elif isinstance(item, property | np.ufunc) or inspect.isroutine(item) or hasattr(item, "__wrapped__"):
        doc = item.__doc__ if item.__doc__ is not type(item).__doc__ else None
    else:
        doc = None
    return doc if isinstance(doc, str) else ""
