"""Events that automations of Prefect react to: how an audit ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flows.run import Outcome
from flows.site import site_address

COMPLETED = "keras-audit.audit.completed"
INCOMPLETE = "keras-audit.audit.incomplete"
REFUSED = "keras-audit.audit.refused"
VIOLATED = "keras-audit.policy.violated"

_SENTENCES = 20  # an event is a message, not a report


def announce(outcome: Outcome) -> None:
    """Emits what happened. An API that does not answer costs the event, not the audit."""
    from prefect.events import emit_event
    from prefect.logging import get_run_logger

    try:
        for event in events_of(outcome):
            # The flow run, its flow and its deployment are related by Prefect.
            emit_event(event, resource=_resource(outcome), payload=payload_of(outcome))
    except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises
        get_run_logger().warning("no event in Prefect: %s", error)


def events_of(outcome: Outcome) -> tuple[str, ...]:
    """An audit that finished against its policy has completed, and has violated it."""
    match outcome.verdict:
        case "incomplete":
            return (INCOMPLETE,)
        case "refused":
            return (REFUSED,)
        case "not_satisfied":
            return (COMPLETED, VIOLATED)
        case _:
            return (COMPLETED,)


def payload_of(outcome: Outcome) -> dict[str, Any]:
    """The verdict, what it rests on in sentences, and where the report is."""
    reasons = [check["sentence"] for check in outcome.checks if check["verdict"] != "satisfied"]
    return {
        "audit": outcome.name,
        "run": outcome.run_id,
        "verdict": outcome.verdict,
        "exit_code": outcome.exit_code,
        "report": site_address(outcome.report) or str(outcome.report),
        "checks": dict(Counter(check["verdict"] for check in outcome.checks)),
        "because": [*outcome.missing, *outcome.reasons, *reasons][:_SENTENCES],
    }


def _resource(outcome: Outcome) -> dict[str, str]:
    return {
        "prefect.resource.id": f"keras-audit.audit.{outcome.name}",
        "prefect.resource.name": outcome.name,
        "keras-audit.verdict": outcome.verdict,
        "keras-audit.run": outcome.run_id,
    }
