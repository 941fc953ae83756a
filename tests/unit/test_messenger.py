"""Apprise in its child process, and a real receiver."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from appliance.errors import ConfigurationError
from appliance.notify.apprise import AppriseMessenger
from appliance.notify.operators import Message
from tests.receiver import receiving

SECRET = "k3epthissecret"
MESSAGE = Message("Upload Appliance: 1 job failed", "1 job failed:\n- *one* _image_ & <b>more</b>")


async def test_a_message_arrives_as_it_was_written() -> None:
    async with receiving() as receiver:
        messenger = AppriseMessenger([receiver.url])
        await messenger.check()
        assert receiver.asked == 0, "checking sends nothing"
        assert await messenger.deliver({0: MESSAGE}) == {0}
    assert receiver.titles == [MESSAGE.title]
    assert receiver.bodies == [MESSAGE.body]


async def test_each_receiver_for_itself() -> None:
    async with receiving() as good, receiving() as bad:
        bad.status = 500
        messenger = AppriseMessenger([bad.url, "json://127.0.0.1:1", good.url])
        assert messenger.receivers == ("json", "json", "json")
        messages = {number: Message(f"to {number}", "body") for number in range(3)}
        assert await messenger.deliver(messages) == {2}
    assert good.titles == ["to 2"]
    assert bad.asked == 1


async def test_a_receiver_that_never_answers_is_given_up_at_the_deadline() -> None:
    async with receiving() as mute:
        mute.holds = True
        messenger = AppriseMessenger([f"{mute.url}?rto=600"], deadline_s=1)
        with capture_logs() as logs:
            assert await messenger.deliver({0: MESSAGE}) == set()
    assert [line["event"] for line in logs] == ["courier_killed"]


async def test_urls_that_apprise_does_not_understand_are_faults() -> None:
    urls = ["json://127.0.0.1", f"nosuch://{SECRET}@example.org", f"slack://{SECRET}"]
    with pytest.raises(ConfigurationError) as refused:
        await AppriseMessenger(urls).check()
    assert [fault.partition(". ")[0] for fault in refused.value.faults] == [
        "APPLIANCE_NOTIFY_URLS: Apprise does not understand URL 2 of 3 (nosuch://…)",
        "APPLIANCE_NOTIFY_URLS: Apprise does not understand URL 3 of 3 (slack://…)",
    ]
    assert SECRET not in str(refused.value)


async def test_without_the_library_the_setting_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"Install upload-appliance\[notify\]"):
        await AppriseMessenger(["json://127.0.0.1"]).check()


async def test_a_machine_too_slow_to_check_may_start() -> None:
    with capture_logs() as logs:
        await AppriseMessenger(["nosuch://x"], deadline_s=0.001).check()
    assert [line["event"] for line in logs] == ["courier_killed", "notify_urls_unchecked"]


async def test_no_secret_is_logged_or_printed(capfd: pytest.CaptureFixture[str]) -> None:
    async with receiving(path=f"hooks/{SECRET}") as receiver:
        receiver.status = 500
        urls = [
            receiver.url.replace("://", f"://user:{SECRET}@") + f"?+X-Token={SECRET}",
            f"json://127.0.0.1:1/{SECRET}",
        ]
        with capture_logs() as logs:
            messenger = AppriseMessenger(urls)
            assert await messenger.deliver(dict.fromkeys(range(2), MESSAGE)) == set()
    assert receiver.asked == 1
    assert SECRET not in repr((logs, messenger.receivers, *capfd.readouterr()))


def test_the_server_does_not_load_the_library() -> None:
    program = (
        "import sys, appliance.cli, appliance.notify.apprise; "
        "print({'apprise', 'requests', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
