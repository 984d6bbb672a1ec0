# SPDX-License-Identifier: Apache-2.0
"""The CEL library: environments with what Kubernetes adds, and its errors in upstream's words.

The library is loaded with the first environment, which takes 50 ms. What Kubernetes' CEL has and this has not shows in
the compiler's text, and is refused by name. Cost is not counted, neither estimated nor at run time.
Source: apiserver/pkg/cel/environment, v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kubesched.cel import functions

NOT_IMPLEMENTED = functions.NOT_IMPLEMENTED

_UNDEFINED = (
    (re.compile(r"undeclared reference to '(url|isURL|format)'"), "calls {}"),
    (re.compile(r"no matching overload for '(indexOf|lastIndexOf)' applied to '\(list"), "calls {} of a list"),
    (re.compile(r"no matching overload for '(string|type)' applied to '\((?:map|list)"), "calls {} of an address"),
    (re.compile(r"undeclared reference to '(net\.IP|net\.CIDR|kubernetes\.\w+)'"), "names the type {}"),
    (re.compile(r"undeclared reference to '(device)'"), "uses {} as a whole"),
    (
        re.compile(r"no matching overload for '_([<>]=?)_' applied to '\((?:int|uint|double), (?:int|uint|double)\)'"),
        "compares numbers of two kinds by {}",
    ),
)
"""What Kubernetes' CEL admits and this does not: how it shows in the compiler's text, and what is said of it."""
_NO_KEY = re.compile(r"Key not found in map : (.*)\Z", re.DOTALL)
_NO_INDEX = re.compile(r"Index error: index=(-?[0-9]+) size=[0-9]+")
_CODE = "INVALID_ARGUMENT"
_TEXTS = (
    ("No matching overloads found", "no such overload"),
    ("divide by zero", "division by zero"),
    ("modulus by zero", "modulus by zero"),
    ("integer overflow", "integer overflow"),
)

_EXTENSIONS = """\
name: kubernetes
extensions:
- {name: bindings}
- {name: lists, version: 2}
- {name: optional}
- {name: sets}
- {name: strings, version: 2}
- {name: two-var-comprehensions}
"""
"""Libraries of CEL that Kubernetes has, in the versions of 1.36; none of those that it does not have, such as math."""


def environment(variables: Callable[[Any], Mapping[str, Any]]) -> Any:
    """An environment with these variables; ``variables`` is given the library's types."""
    from cel_expr_python import cel

    config = cel.NewEnvConfigFromYaml(_EXTENSIONS)
    return cel.NewEnv(config=config, variables=variables(cel.Type), functions=functions.declarations(cel))


def refusal(text: str) -> str | None:
    """What Kubernetes' CEL would compile and this does not, by the compiler's text; None: it is an error there too."""
    for pattern, what in _UNDEFINED:
        found = pattern.search(text)
        if found is not None:
            return what.format(found[1])
    return None


def compile_text(text: str) -> str:
    """A compiler's error without the code that the library puts around it."""
    return text.removeprefix(_CODE + ": ").removesuffix(f" [{_CODE}]")


def missing_key(text: str) -> str | None:
    """The key that a map has not, by the text of a runtime error."""
    found = _NO_KEY.search(text)
    return None if found is None else _unquoted(found[1])


def error_text(text: str) -> str:
    """A runtime error in the words of upstream's library, where they are known."""
    key = missing_key(text)
    if key is not None:
        return f"no such key: {key}"
    index = _NO_INDEX.search(text)
    if index is not None:
        return f"index out of bounds: {index[1]}"
    return next((said for part, said in _TEXTS if part in text), text)


def _unquoted(text: str) -> str:
    text = text.strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1].encode().decode("unicode_escape") if quoted else text
