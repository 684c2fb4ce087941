"""The status of policies, by server-side apply: conditions of ours are ours, those of others are left alone."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from l2announce.control.conditions import merged
from l2announce.errors import ApiError
from l2announce.kube.transport import APPLY_PATCH, Transport
from l2announce.model.conditions import Condition
from l2announce.wire.conditions import encode_policy_status

FIELD_MANAGER = "l2announce-status"

_log = logging.getLogger(__name__)


class PolicyStatuses:
    """Writes what differs, one policy at a time. A failure is logged once until it is over."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._failure = ""

    async def write(self, version: str, known: Mapping[str, Iterable[Condition]], wanted: Mapping[str, Sequence[Condition]]) -> bool:
        """Apply the conditions of the policies of ``version`` of the API that are not among those that they are ``known`` to have. Policies
        that are not known are passed over. False when one was refused."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        failures = []
        for name in sorted(wanted.keys() & known.keys()):
            live = tuple(known[name])
            conditions = merged(live, wanted[name], now)
            if not set(conditions) <= set(live) and (failure := await self._apply(version, name, conditions)):
                failures.append(failure)
        self._tell(failures[0] if failures else "")
        return not failures

    async def _apply(self, version: str, name: str, conditions: Sequence[Condition]) -> str:
        path = f"/apis/cilium.io/{version}/ciliuml2announcementpolicies/{name}/status"
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        try:
            await self._transport.request("PATCH", path, query, encode_policy_status(version, name, conditions), APPLY_PATCH)
        except ApiError as err:
            if err.code == 404:  # it was deleted just now
                return ""
            remedy = "; grant patch on ciliuml2announcementpolicies/status" if err.code == 403 else ""
            return f"ciliuml2announcementpolicy/{name}: status not written: {err}{remedy}"
        return ""

    def _tell(self, failure: str) -> None:
        if failure and failure != self._failure:
            _log.warning(failure)
        self._failure = failure
