"""What crossed the wire and what user code marked, as the trace that is stored with a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rollout_local.clock import iso
from rollout_local.dialects import read_call
from rollout_local.domain.identity import canonical_json
from rollout_local.providers.cost import cost_of
from rollout_local.providers.failures import failure_of as failure_of_exchange
from rollout_local.recordings import Exchange
from rollout_local.runs.execution import Execution
from rollout_local.store.journal import SpanRecord, TraceRecord
from rollout_local.tracing import Span

Prices = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Trace:
    """A trace to store. `cost_usd` sums what is known of the calls that were paid for; None where nothing is."""

    record: TraceRecord
    cost_usd: float | None
    unpriced: frozenset[str]


def trace_of(
    name: str, execution: Execution, make_id: Callable[[str], str], prices: Prices, attributes: Mapping[str, object]
) -> Trace:
    """The trace of one execution of a target. The id that the target gave its own trace is `external_trace_id`."""
    own = {} if execution.result is None else {"external_trace_id": execution.result.trace_id}
    return build_trace(
        name, execution.exchanges, make_id, prices,
        started=execution.started, seconds=execution.seconds, marked=execution.spans,
        attributes={**attributes, **{name: value for name, value in own.items() if value is not None}},
    )  # fmt: skip


def build_trace(
    name: str,
    exchanges: Iterable[Exchange],
    make_id: Callable[[str], str],
    prices: Prices,
    *,
    started: float,
    seconds: float,
    marked: Sequence[Span] = (),
    attributes: Mapping[str, object] = MappingProxyType({}),
) -> Trace:
    """A trace from exchanges and marked spans. `started` in Unix seconds."""
    spans = [_model_span(exchange, make_id("spn"), prices) for exchange in exchanges]
    costs = [span.cost_usd for span in spans if span.cost_usd is not None]
    unpriced = {span.model for span in spans if span.model and span.cost_usd is None}
    record = TraceRecord(
        id=make_id("trc"),
        name=name,
        started_at=iso(started),
        duration_s=seconds,
        attributes=attributes,
        spans=[*spans, *(_marked_span(span, make_id("spn")) for span in marked)],
    )
    return Trace(record, sum(costs) if costs else None, frozenset(unpriced))


def _model_span(exchange: Exchange, span_id: str, prices: Prices) -> SpanRecord:
    call = read_call(exchange.request_body, exchange.response_body, exchange.url)
    failure = failure_of_exchange(exchange)
    cost = cost_of(exchange, prices)
    return SpanRecord(
        id=span_id,
        type="llm" if call.model else "http",
        name=call.model or f"{exchange.method} {exchange.url}",
        model=call.model,
        input=call.messages,
        output=call.output,
        tokens_in=call.tokens_in,
        tokens_out=call.tokens_out,
        cost_usd=cost.usd if call.model or exchange.replayed else None,
        started_at=iso(exchange.started),
        duration_s=exchange.duration,
        error=failure.words if failure else None,
        replayed=exchange.replayed,
    )


def _marked_span(span: Span, span_id: str) -> SpanRecord:
    return SpanRecord(
        id=span_id,
        type=span.type,
        name=span.name,
        input=() if span.input is None else (_text(span.input),),
        output=None if span.output is None else _text(span.output),
        started_at=iso(span.started),
        duration_s=span.duration,
        error=span.error,
    )


def _text(value: object) -> str:
    try:
        return canonical_json(value)
    except (TypeError, ValueError):
        return canonical_json(repr(value))
