"""The program that sends: one run for each turn, with Apprise, then gone.

Apprise and what it brings take 36 MiB, and wait for whatever the receivers' networks do. In a
process of its own it costs the server neither, can be killed at the deadline, and what it logs,
addresses with their secrets among it, goes nowhere.

Orders come on stdin as one JSON array; the numbers of the receivers where it went well go to
stdout, a line for each, as soon as it is known.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

import msgspec

from appliance.notify.apprise import Order
from appliance.processors.child import die_with_parent


def main() -> None:
    die_with_parent()
    os.nice(5)
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Order])
    import apprise  # here, so that nothing but this program ever loads it

    asset = apprise.AppriseAsset(app_id="Upload Appliance")
    with ThreadPoolExecutor(len(orders)) as threads:
        running = {}
        for order in orders:
            receiver = apprise.Apprise(asset=asset)
            if not receiver.add(order.url):
                continue
            if order.message is None:
                print(order.receiver, flush=True)
                continue
            sending = threads.submit(
                receiver.notify,
                title=order.message.title,
                body=order.message.body,
                notify_type=apprise.NotifyType.WARNING,
                body_format=apprise.NotifyFormat.TEXT,
            )
            running[sending] = order.receiver
        for sent in as_completed(running):
            if sent.exception() is None and sent.result():
                print(running[sent], flush=True)


if __name__ == "__main__":
    main()
