// The settings of traces: records of requests, and spans.

import { count } from './door-settings.js'
import type { SettingName } from './schema.js'
import type { Setting } from './settings.js'

export const TRACE_SETTINGS = {
  traceDir: {
    wants: 'the path of a folder',
    help: 'record requests in DIR/requests-*.jsonl and spans in DIR/spans-*.jsonl (OTLP JSON)',
    value: 'DIR',
    env: 'BANYAN_TRACE_DIR',
  },
  traceContent: {
    wants: 'ids, text or hash',
    help: 'what records say of prompts and outputs: ids (default), text (with ids; in spans too), hash',
    value: 'WHAT',
    env: 'BANYAN_TRACE_CONTENT',
  },
  traceSlowMs: {
    wants: count(1, 3_600_000),
    help: 'export the spans of requests that fail or take N ms, whatever the sampler says',
    value: 'N',
    env: 'BANYAN_TRACE_SLOW_MS',
  },
  traceExperts: {
    wants: 'on or off',
    help: 'write the experts of every token to DIR/experts/*.npy; needs --trace-dir',
    value: 'on|off',
    isSwitch: true,
    env: 'BANYAN_TRACE_EXPERTS',
  },
  otelEndpoint: {
    wants: 'an http(s) URL',
    help: 'OpenTelemetry collector; tracing is off without',
    env: 'OTEL_EXPORTER_OTLP_ENDPOINT',
  },
  otelServiceName: { wants: 'a name', help: 'service.name of the spans', env: 'OTEL_SERVICE_NAME' },
  otelSampler: {
    wants: 'always_on, always_off, traceidratio or parentbased_ with one of these',
    help: 'which traces are kept',
    env: 'OTEL_TRACES_SAMPLER',
  },
  otelSamplerArg: {
    wants: 'a number from 0 to 1',
    help: 'share of traces for the ratio samplers',
    env: 'OTEL_TRACES_SAMPLER_ARG',
  },
} as const satisfies Partial<Record<SettingName, Setting>>
