"""Shows synchronous twins in the reference: functions with the parameters of their originals.

The reference is made from source text, in which `status = blocking(astatus)` is an attribute.
"""

from __future__ import annotations

import ast
from typing import Any

import griffe

MAKERS = {"blocking", "sync_task", "sync_generator_task", "sync_iterator_twin", "sync_twin"}


class Twins(griffe.Extension):
    """Turns the twins of a class into functions; those of a module are described with them."""

    def on_class_members(self, *, node: Any, cls: griffe.Class, **_kwargs: Any) -> None:
        for statement in getattr(node, "body", ()):
            match statement:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(func=ast.Name(id=maker), args=[ast.Name(id=original)]),
                ) if maker in MAKERS:
                    cls.set_member(name, _twin(cls.members[original], name))


def _twin(original: Any, name: str) -> griffe.Function:
    return griffe.Function(
        name,
        lineno=original.lineno,
        endlineno=original.endlineno,
        parameters=original.parameters,
        returns=original.returns,
        docstring=griffe.Docstring(f"Synchronous twin of `{original.name}`."),
    )
