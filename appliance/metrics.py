"""The metrics that the appliance exposes, in Prometheus' terms.

One object, handed to whoever counts; gauges that are read from the database are set when a
scrape asks. `docs/metrics.md` is held to this list by a test.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_REQUEST_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 300)
_ATTEMPT_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200)


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.uploads = Counter(
            "appliance_uploads", "Files acknowledged with 202.", ["type"], registry=registry
        )
        self.upload_bytes = Counter(
            "appliance_upload_bytes", "Bytes of files acknowledged with 202.", registry=registry
        )
        self.uploads_refused = Counter(
            "appliance_uploads_refused", "Uploads refused.", ["code"], registry=registry
        )
        self.reclaimed_bytes = Counter(
            "appliance_uploads_reclaimed_bytes",
            "Bytes of unfinished uploads that have expired.",
            registry=registry,
        )
        self.requests = Counter(
            "appliance_http_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "appliance_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.attempts = Counter(
            "appliance_attempts", "Attempts ended.", ["type", "outcome"], registry=registry
        )
        self.attempt_seconds = Histogram(
            "appliance_attempt_seconds",
            "Time from a claim to its settling.",
            ["type"],
            buckets=_ATTEMPT_BUCKETS_S,
            registry=registry,
        )
        self.scans = Counter(
            "appliance_scans", "Scans for viruses ended.", ["verdict"], registry=registry
        )
        self.rescued = Counter(
            "appliance_jobs_rescued", "Jobs taken back from lost workers.", registry=registry
        )
        self.queued = Gauge(
            "appliance_queue_jobs", "Jobs that are PENDING.", ["type"], registry=registry
        )
        self.oldest_queued_seconds = Gauge(
            "appliance_queue_oldest_seconds",
            "Age of the oldest PENDING job.",
            ["type"],
            registry=registry,
        )
        self.active_workers = Gauge(
            "appliance_workers_active", "Workers with a running attempt.", ["type"],
            registry=registry,
        )  # fmt: skip
        self.worker_target = Gauge(
            "appliance_workers_target",
            "Workers that the scaling rule allows now.",
            ["type"],
            registry=registry,
        )
        self.outage = Gauge(
            "appliance_pool_outage",
            "1 while a fault of the surroundings keeps a pool from working.",
            ["type"],
            registry=registry,
        )
        self.sandbox_layer = Gauge(
            "appliance_sandbox_layer",
            "1 while a layer of the walls around the work on files holds.",
            ["layer"],
            registry=registry,
        )
        self.servers = Gauge(
            "appliance_servers",
            "Processes that are known, by whether they live or are gone without a word.",
            ["state"],
            registry=registry,
        )
        self.missing_files = Gauge(
            "appliance_missing_files",
            "Originals that are not where they should be.",
            registry=registry,
        )
        self.damaged_files = Gauge(
            "appliance_damaged_files",
            "Stored files whose bytes are not those that were stored.",
            registry=registry,
        )
        self.unreadable_files = Gauge(
            "appliance_unreadable_files",
            "Stored files that could not be read, while others could.",
            registry=registry,
        )
        self.scrub_began = Gauge(
            "appliance_scrub_timestamp_seconds",
            "When the reading of all files that is under way, or was the last, began; 0: never.",
            registry=registry,
        )
        self.scrub_bytes = Counter(
            "appliance_scrub_bytes", "Bytes read against their digests.", registry=registry
        )
        self.cold_files = Gauge(
            "appliance_cold_files", "Originals in the cold place.", registry=registry
        )
        self.cold_bytes = Gauge(
            "appliance_cold_bytes", "Bytes of originals in the cold place.", registry=registry
        )
        self.lifecycle_ran = Gauge(
            "appliance_lifecycle_timestamp_seconds",
            "When what is old was last looked through for the cold place; 0: never.",
            registry=registry,
        )
        self.lifecycle_failed = Gauge(
            "appliance_lifecycle_failed",
            "1 when the last such pass was stopped by a fault.",
            registry=registry,
        )
        self.cooled_bytes = Counter(
            "appliance_lifecycle_moved_bytes",
            "Bytes of originals moved to the cold place.",
            registry=registry,
        )
        self.deleted_bytes = Counter(
            "appliance_lifecycle_deleted_bytes",
            "Bytes of originals and results deleted by their age.",
            registry=registry,
        )
        self.worker_limit = Gauge(
            "appliance_workers_limit", "Largest pool.", ["type"], registry=registry
        )
        self.dead_letters = Gauge(
            "appliance_dead_letters", "Failed jobs that wait for review.", registry=registry
        )
        self.notifications = Counter(
            "appliance_notifications",
            "Messages to operators.",
            ["outcome"],
            registry=registry,
        )
        self.deliveries = Counter(
            "appliance_webhook_tries",
            "Requests to webhooks and callbacks.",
            ["outcome"],
            registry=registry,
        )
        self.backup_taken = Gauge(
            "appliance_backup_timestamp_seconds",
            "When the latest backup was begun; 0: none is known here.",
            registry=registry,
        )
        self.backup_proven = Gauge(
            "appliance_backup_proven_timestamp_seconds",
            "When a backup was last read whole and found sound; 0: none was.",
            registry=registry,
        )
        self.backup_failed = Gauge(
            "appliance_backup_failed",
            "1 when the latest backup failed, or is damaged.",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "appliance_certificate_expiry_timestamp_seconds",
            "When the certificate for TLS expires.",
            ["file"],
            registry=registry,
        )
        self.storage_up = Gauge(
            "appliance_storage_up", "1 while the store answers.", registry=registry
        )
        self.storage_free_bytes = Gauge(
            "appliance_storage_free_bytes", "Room left in the store.", registry=registry
        )

    def text(self) -> bytes:
        """The exposition format 0.0.4."""
        return generate_latest(self.registry)
