// A prompt once through the cluster, every row's logits back: for comparing with a reference implementation.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { controlAddress } from '../../lib/actor/ask-while-alive.js'
import { ClusterError } from '../../lib/errors.js'
import { NEUTRAL_SAMPLING } from '../../lib/sampling/params.js'
import type { StepEntry } from '../../lib/wire/messages.js'
import { packF32, packI32, readF32, type WireTensor } from '../../lib/wire/tensor.js'
import { samplingMessage, STEP_TIMEOUT_MS } from './forward.js'

export interface LogitsOptions {
  readonly system: ActorSystem
  readonly worker: string
  readonly tableEpoch: number
  readonly replicas: string[][]
  readonly vocabSize: number
  readonly chunk: number // rows a step
  readonly newStepId: () => string
}

/** Logits [tokens, vocab] of a prompt, prefilled in chunks as a request would be. */
export async function promptLogits(options: LogitsOptions, tokens: readonly number[]): Promise<WireTensor> {
  const sequence = `logits.${options.newStepId()}`
  const all = new Float32Array(tokens.length * options.vocabSize)
  let accepted: number[] = []
  try {
    for (let base = 0, epoch = 0; base < tokens.length; base += accepted.length, epoch++) {
      const rows = tokens.slice(base, base + options.chunk)
      const nodes = rows.map((_, node) => node)
      const entry = {
        sequence,
        epoch,
        base,
        accepted: packI32(accepted),
        tokens: packI32(rows),
        parents: packI32(nodes.map((node) => node - 1)),
        sampled: packI32([]),
        ...(epoch === 0
          ? { start: { promptLength: tokens.length, choice: 0, sampling: samplingMessage(NEUTRAL_SAMPLING) } }
          : {}),
      }
      all.set(await askChunk(options, entry), base * options.vocabSize)
      accepted = nodes
    }
  } finally {
    options.system.tell(controlAddress(options.worker), 'sequence.cancel', { sequences: [sequence] })
  }
  return packF32(all, [tokens.length, options.vocabSize])
}

async function askChunk(
  { system, worker, tableEpoch, replicas, newStepId }: LogitsOptions,
  entry: StepEntry,
): Promise<Float32Array> {
  const body = { step: newStepId(), tableEpoch, replicas, entries: [entry], release: [], withLogits: true }
  const message = { kind: 'attention.step', body, replyKind: 'attention.sampled' } as const
  const sampled = await system.ask(worker, message, { timeoutMs: STEP_TIMEOUT_MS })
  const error = sampled.entries[0]?.error
  if (error !== undefined) throw new ClusterError('internal', `logits: ${error.message}`)
  if (sampled.logits === undefined) throw new ClusterError('internal', 'logits: the worker returned none')
  return readF32(sampled.logits, 'logits')
}
