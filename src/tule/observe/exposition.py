"""Prometheus' text format, version 0.0.4. Written here because the client library costs start-up time and memory for
registries and collectors that Tule has no use for: its numbers already stand in its own objects."""

from collections.abc import Iterable
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Exposition:
    """A page of metrics, family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def counter(self, name: str, text: str, samples: Iterable[tuple[Labels, float]]) -> None:
        self._family(name, "counter", text)
        self._samples(name, samples)

    def gauge(self, name: str, text: str, samples: Iterable[tuple[Labels, float]]) -> None:
        self._family(name, "gauge", text)
        self._samples(name, samples)

    def histogram(
        self, name: str, text: str, series: Iterable[tuple[Labels, list[tuple[float, int]], int, float]]
    ) -> None:
        """Series of (labels, [(upper bound, calls in this bucket alone)], all calls, sum)."""
        self._family(name, "histogram", text)
        for labels, buckets, calls, total in series:
            below = 0
            for bound, count in buckets:
                below += count
                self._line(f"{name}_bucket", (*labels, ("le", f"{bound:g}")), below)
            self._line(f"{name}_bucket", (*labels, ("le", "+Inf")), calls)
            self._line(f"{name}_sum", labels, total)
            self._line(f"{name}_count", labels, calls)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _family(self, name: str, kind: str, text: str) -> None:
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def _samples(self, name: str, samples: Iterable[tuple[Labels, float]]) -> None:
        for labels, value in samples:
            self._line(name, labels, value)

    def _line(self, name: str, labels: Labels, value: float) -> None:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        self._lines.append(f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
