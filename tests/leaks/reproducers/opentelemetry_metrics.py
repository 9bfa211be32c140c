"""A metric reader, after the shutdown of its meter provider."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


def make():
    reader = InMemoryMetricReader()
    MeterProvider([reader]).shutdown()
    return reader
