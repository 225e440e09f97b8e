"""MLflow's webhook: when the registry changes, the follower polls it at once.

A delivery only triggers a poll; the answer comes from the registry itself. Deliveries are signed nevertheless, so that
strangers cannot trigger polls without end: HMAC-SHA256 over id, time and body, as MLflow 3.3 and later sign them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import Any

from starlette.datastructures import Headers

from .refusals import Refused

SIGNATURE, TIMESTAMP, DELIVERY = "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id"
VERSION = "v1"
OLDEST_SECONDS = 300


def check_delivery(secret: str, headers: Headers, body: bytes, now: float | None = None) -> None:
    """Checks that the sender knows the secret and the delivery is recent.

    Raises:
        Refused: 401, the signature is missing, wrong or old.
    """
    timestamp, given = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    signed = f"{headers.get(DELIVERY, '')}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(given.encode(), f"{VERSION},{digest}".encode()):
        raise Refused(401, "the signature does not match the secret in EVENODD_WEBHOOK_SECRET", reason="signature")
    age = (time.time() if now is None else now) - (int(timestamp) if timestamp.isdecimal() else 0)
    if abs(age) > OLDEST_SECONDS:
        raise Refused(401, f"the delivery is {age:.0f} seconds old; send it again", reason="signature")


def names_model(delivery: dict[str, Any], model: str) -> bool:
    """Whether a delivery is about the followed model; also true if it names no model."""
    data = delivery.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    return name is None or name == re.split("[@/]", model.removeprefix("models:/"))[0]
