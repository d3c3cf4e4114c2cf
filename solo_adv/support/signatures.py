"""Reads which arguments a class of an installed package takes, without importing the package.

Importing Lightning or timm takes seconds. Reading their source instead lets a wrong key be refused
at once.
"""

import ast
import builtins
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints


class Opaque:
    """Stands for a type that only an import could resolve, such as a class of the package."""

    __class_getitem__ = classmethod(lambda cls, _: cls)


@cache
def constructor(module: str, name: str) -> dict[str, Any]:
    """Find the parameters that a class takes, with their declared types.

    If the source cannot be read, the class is imported and inspected.

    Args:
        module: the module that defines the class, such as ``timm.optim.lars``.
        name: name of the class.

    Returns:
        The type of each parameter by its name. A parameter without a declared type has ``bool`` if
        its default is true or false, else ``Any``.
        :class:`Opaque` replaces every type that is neither a builtin, nor from the standard
        library, nor an alias of such types.
    """
    try:
        arguments = _init_of(_source(module), name).args
    except (ImportError, LookupError, OSError, SyntaxError):
        found = getattr(import_module(module), name)
        hints = get_type_hints(found.__init__)
        return {
            key: hints.get(key, _implied(parameter.default))
            for key, parameter in inspect.signature(found).parameters.items()
        }
    declared = (*arguments.posonlyargs, *arguments.args)
    defaults = dict(zip(reversed(declared), reversed(arguments.defaults), strict=False))
    defaults |= {
        argument: default
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    }
    return {
        argument.arg: _type(argument.annotation, module)
        if argument.annotation is not None
        else _implied(getattr(defaults.get(argument), "value", None))
        for argument in (*declared[1:], *arguments.kwonlyargs)
    }


def _implied(default: object) -> Any:
    return bool if isinstance(default, bool) else Any


def package_folder(package: str) -> Path:
    """The folder of an installed top-level package's source. Nothing is imported.

    Raises:
        ImportError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"No module named '{package}'", name=package)
    return Path(spec.origin).parent


@cache
def _source(module: str) -> ast.Module:
    package, *rest = module.split(".")
    file = package_folder(package).joinpath(*rest)
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _init_of(source: ast.Module, name: str) -> ast.FunctionDef:
    for node in source.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return member
    raise LookupError(name)


def _type(expression: ast.expr, module: str) -> Any:
    """Evaluate an expression of types that stands in ``module``."""
    code = compile(ast.Expression(expression), module, "eval")
    try:
        return eval(code, {"__builtins__": {}}, _Names(module))
    except Exception:  # it uses something that only an import could resolve
        return Opaque


class _Names(dict[str, Any]):
    """The names that a module can use, looked up in its source when they are asked for."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        for found in _meanings(self.module, name):
            return found
        return getattr(builtins, name, Opaque)


def _meanings(module: str, name: str) -> Iterator[Any]:
    for node in _source(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    yield _imported(module, node.module, alias.name)
        elif isinstance(node, ast.Assign) and name in {ast.unparse(t) for t in node.targets}:
            yield _type(node.value, module)
        elif isinstance(node, ast.ClassDef) and node.name == name:
            yield Opaque


def _imported(importer: str, module: str, name: str) -> Any:
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return getattr(import_module(module), name)
    same = package == importer.partition(".")[0]
    return _Names(module)[name] if same else Opaque
