# SPDX-License-Identifier: Apache-2.0
"""The tool that makes the archive of tables: what it reads from Go declarations."""

from __future__ import annotations

import pytest

from tools import api_tables

GO = """
package v1

import (
\tmetav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
\t"k8s.io/apimachinery/pkg/util/intstr"
)

type Phase string

type Amounts map[Phase]intstr.IntOrString // by phase

type Nothing struct{}

type Widget struct {
\tmetav1.TypeMeta `json:",inline"`
\t// metadata of it
\t// +optional
\tmetav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

\tSource `json:",inline" protobuf:"bytes,2,opt,name=source"`
\tPhase  *Phase              `json:"phase,omitempty,omitzero" protobuf:"bytes,3,opt,name=phase"` // old
\t// many
\t// +default="none"
\t// +optional
\tParts  []map[string][]byte `json:"parts" protobuf:"bytes,4,rep,name=parts"`
\tHidden string              `json:"-"`
}

type internal struct {
\tX string `json:"x"`
}
"""

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
HERE = "io.k8s.api.things.v1"


@pytest.fixture
def declared(tmp_path):
    (tmp_path / "types.go").write_text(GO)
    (tmp_path / "types_test.go").write_text("type Test struct {\n}\n")
    return api_tables.declarations(tmp_path, "api/things/v1")


def test_types(declared):
    assert set(declared) == {"Phase", "Amounts", "Nothing", "Widget"}
    assert declared["Phase"] == "string"
    assert declared["Amounts"] == f"map[{HERE}.Phase]io.k8s.apimachinery.pkg.util.intstr.IntOrString"
    assert declared["Nothing"] == {"fields": []}


def test_fields(declared):
    assert declared["Widget"]["fields"] == [
        ["", f"{META}.TypeMeta", 0, "i"],
        ["metadata", f"{META}.ObjectMeta", 1, "o"],
        ["", f"{HERE}.Source", 2, "i"],
        ["phase", f"*{HERE}.Phase", 3, "oz"],
        ["parts", "[]map[string][]byte", 4, "", {"default": "none"}],
    ]


def test_the_same_members_are_the_same_bytes(tmp_path):
    members = {"b.json": {"x": 1}, "a.pb": b"\x00"}
    for name in ("one.zip", "two.zip"):
        api_tables.write(tmp_path / name, members)
        members = dict(reversed(members.items()))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
