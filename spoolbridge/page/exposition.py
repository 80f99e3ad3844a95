"""The counts for Prometheus, names and units by its conventions (prometheus.io/docs/practices/naming).

`Metrics` keeps them, so that a service without a page loads none of this; here they are only put into words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from spoolbridge import __version__
from spoolbridge.metrics import BOUNDS
from spoolbridge.page.health import Health
from spoolbridge.parts import Parts

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Exposition(Collector):
    """One service's counts as families. `oldest()` is the age (seconds) of the oldest entry that waits."""

    def __init__(self, parts: Parts, health: Callable[[], Health], oldest: Callable[[], float]) -> None:
        self._parts, self._metrics = parts, parts.metrics
        self._health, self._oldest = health, oldest
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The whole exposition, in the form of CONTENT_TYPE."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing ahead of time; our names are our own."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("spoolbridge", "The program", value={"version": __version__})
        yield from self._entries()
        yield from self._discord()
        yield from self._times()

    def _entries(self) -> Iterator[Metric]:
        metrics, channels = self._metrics, self._parts.registry().addresses
        sent = CounterMetricFamily(
            "spoolbridge_entries_sent", "Entries sent, settled in sent/", labels=["channel"]
        )
        filed = CounterMetricFamily(
            "spoolbridge_messages_filed", "Messages of humans filed in incoming/", labels=["channel"]
        )
        waiting = GaugeMetricFamily(
            "spoolbridge_backlog_entries", "Entries in outgoing/ and sending/", labels=["channel"]
        )
        # From the start, at 0: what first appears at 1 is no increase to Prometheus.
        for channel in dict.fromkeys([*channels, *metrics.sent_by]):
            sent.add_metric([channel], metrics.sent_by[channel])
        for channel in dict.fromkeys([*channels, *metrics.filed_by]):
            filed.add_metric([channel], metrics.filed_by[channel])
        for channel in dict.fromkeys([*channels, *metrics.backlog]):
            waiting.add_metric([channel], metrics.backlog.get(channel, 0))
        failed = CounterMetricFamily(
            "spoolbridge_entries_failed", "Entries failed, settled in failed/", labels=["channel", "reason"]
        )
        for (channel, kind), count in metrics.failed_by.items():
            failed.add_metric([channel, kind], count)
        yield from (sent, failed, filed, waiting)
        yield GaugeMetricFamily(
            "spoolbridge_oldest_entry_age_seconds", "Age of the oldest entry that waits", self._oldest()
        )
        yield self._latency()

    def _latency(self) -> Metric:
        latency = HistogramMetricFamily(
            "spoolbridge_delivery_latency_seconds", "From the time an entry was written to Discord's answer"
        )
        below, buckets = 0, []
        for bound, count in zip(BOUNDS, self._metrics.latency.buckets, strict=True):
            below += count
            buckets.append(("+Inf" if bound == BOUNDS[-1] else str(bound), below))
        latency.add_metric([], buckets, self._metrics.latency.sum)
        return latency

    def _discord(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "spoolbridge_discord_requests", "Requests to Discord, by what came back", labels=["status"]
        )
        for status in ("2xx", "4xx", "5xx", "none"):
            requests.add_metric([status], self._metrics.requests[status])
        for status in self._metrics.requests.keys() - {"2xx", "4xx", "5xx", "none"}:
            requests.add_metric([status], self._metrics.requests[status])
        yield requests
        yield CounterMetricFamily(
            "spoolbridge_discord_rate_limited", "Requests answered 429", self._metrics.rate_limited
        )
        told = self._health()
        yield GaugeMetricFamily("spoolbridge_healthy", "1 where /healthz is green", float(told.well))
        if told.silence is not None:
            what = "Since Discord last answered"
            yield GaugeMetricFamily("spoolbridge_discord_silence_seconds", what, told.silence)
        findings = len(self._parts.inspection.findings)
        yield GaugeMetricFamily("spoolbridge_findings", "Findings about Discord", findings)

    def _times(self) -> Iterator[Metric]:
        for name, what, at in (
            ("start_time", "When the service began", self._parts.since),
            ("last_sent_timestamp", "When an entry was last sent", self._metrics.last_sent),
            ("last_filed_timestamp", "When a message was last filed", self._metrics.last_filed),
        ):
            if at is not None:
                yield GaugeMetricFamily(f"spoolbridge_{name}_seconds", what, at)
