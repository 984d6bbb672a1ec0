# SPDX-License-Identifier: Apache-2.0
"""What others need to judge the tokens of service accounts themselves: the issuer's OpenID documents.

Source: pkg/serviceaccount/openidmetadata.go and pkg/routes/openidmetadata.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kubesched.apiserver.message import Response

_CONFIGURATION = "/.well-known/openid-configuration"
_KEYS = "/openid/v1/jwks"
_KEYS_TYPE = "application/jwk-set+json"
_CACHED = {"Cache-Control": "public, max-age=3600"}

Published = Mapping[str, tuple[bytes, str]]
"""Documents and their media types, by path."""


def documents(issuer: str, keys: Mapping[str, Any], address: str) -> Published:
    """The documents of an issuer whose keys are found under ``address`` (``https://host:port``)."""
    configuration = {
        "issuer": issuer,
        "jwks_uri": address + _KEYS,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key["alg"] for key in keys["keys"]}),
    }
    return {
        _CONFIGURATION: (orjson.dumps(configuration), "application/json"),
        _KEYS: (orjson.dumps(keys), _KEYS_TYPE),
    }


def answer(path: str, published: Published) -> Response | None:
    """The document of a path, if it has one."""
    found = published.get(path)
    return None if found is None else Response(200, *found, headers=dict(_CACHED))
