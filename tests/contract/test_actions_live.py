"""From an event over HTTP to an action on its way: a running server, with patterns and a policy loaded beside it."""

from __future__ import annotations

from pathlib import Path

from tests.contract.conftest import Rig
from tests.contract.test_api import call, name
from tests.server_rig import until

POLICY = """
policy: {holdout: 0.0}
actions:
  - id: calm_down
    kind: service
    route: web
    trigger: {patterns: [PATTERN]}
    caps: [{most: 1, per: 1h}]
    content: {en: {title: "Trouble?", text: We can help}}
"""
PATTERN = "{id: PATTERN, within: 1m, match: {event: Odd Click, count: 2}}"


def test_events_become_actions(api: Rig, tmp_path: Path) -> None:
    pattern, source, user = f"odd_{name().replace('-', '_')}", name(), name()
    (tmp_path / "pattern.yaml").write_text(PATTERN.replace("PATTERN", pattern))
    (tmp_path / "policy.yaml").write_text(POLICY.replace("PATTERN", pattern))
    for command in (("patterns", "load", "--on", "pattern.yaml"), ("actions", "load", "policy.yaml")):
        done = api.home.run(*command[:-1], str(tmp_path / command[-1]))
        assert done.returncode == 0, done.stderr
    read = api.tokens["read"]

    def reloaded() -> bool:
        return "calm_down" in {one["action"] for one in call(api, "get", "/v1/actions", read).json()["actions"]}

    until(reloaded, "the policy is in force in the server")
    click = {"type": "track", "event": "Odd Click", "userId": user, "channel": "web"}
    events = [{**click, "messageId": name(), "properties": {"n": n}} for n in range(2)]
    sent = call(api, "post", "/v1/events", api.tokens["events"], json={"source": source, "batch": events})
    assert sent.status_code in (200, 202), sent.text

    def decided() -> list[dict[str, object]]:
        lines = call(api, "get", "/v1/actions/decisions", read).json()
        return [one for one in lines if one["action"] == "calm_down"]

    [line] = until(decided, "the action was decided")
    assert (line["cause"], line["outcome"], line["route"]) == ("pattern", "acted", "web")
    shown = call(api, "get", f"/v1/actions/decisions/{line['decision_id']}", read).json()
    assert (shown["fired"], shown["same"]) == (pattern, True)
    assert shown["content"]["title"] == "Trouble?"
