// What a router tells of its requests, as its settings say: records, and spans.

import type { RouterOptions, ServiceDeps } from '../../../lib/config/service.js'
import type { Checkpoint } from '../../../lib/model/checkpoint.js'
import type { ModelSpec } from '../../../lib/model/spec.js'
import { topKOf } from '../../../lib/model/top-k.js'
import { createLineFile } from '../../../lib/tracing/line-file.js'
import type { FingerprintParts } from '../../../lib/model/fingerprint.js'
import type { ModelInfo } from '../engine.js'
import { snakeCase } from '../snake-case.js'
import { createExpertFiles, type ExpertFiles } from './expert-files.js'
import { createRecorder, type Recorder } from './recorder.js'
import { createRequestSpans, type RequestSpans } from './request-span.js'

export interface Capture {
  readonly recorder: Recorder
  readonly spans: RequestSpans
}

export interface CapturedModel {
  readonly checkpoint: Checkpoint
  readonly model: ModelInfo
  readonly fingerprint: () => string
  readonly fingerprintParts: () => FingerprintParts
}

export function openCapture(deps: ServiceDeps, options: RouterOptions, captured: CapturedModel): Capture {
  const { checkpoint, model, fingerprint } = captured
  const { system, tracer, logger, id, pid } = deps
  const { traceDir: folder, traceContent, traceSlowMs: slowMs } = options
  const onDropped = (why: string): void => logger.warn({ folder, why }, 'records of requests are dropped')
  const { tokenizer } = checkpoint
  return {
    recorder: createRecorder({
      clock: system.clock,
      experts: openExpertFiles(deps, options, checkpoint.spec),
      file: folder === undefined ? undefined : createLineFile({ folder, name: `requests-${id}-${pid}`, onDropped }),
      content: traceContent,
      router: id,
      model: model.id,
      eosTokenIds: model.eosTokenIds,
      tokenizer,
      slowMs,
      partsOf: (name) => (name === fingerprint() ? snakeCase(captured.fingerprintParts()) : undefined),
    }),
    spans: createRequestSpans({
      tracer,
      model: model.id,
      textOf: traceContent === 'text' && tokenizer !== undefined ? (tokens) => tokenizer.decode(tokens) : undefined,
    }),
  }
}

/** A model without gates has nothing to tell. */
function openExpertFiles(
  { id, pid, logger }: ServiceDeps,
  { traceDir: folder, traceExperts }: RouterOptions,
  spec: ModelSpec,
): ExpertFiles | undefined {
  if (folder === undefined || traceExperts !== true || topKOf(spec) === 0) return undefined
  return createExpertFiles({ folder, writer: `${id}-${pid}`, spec, logger })
}
