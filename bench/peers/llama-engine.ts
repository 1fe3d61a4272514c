// Greedy generation with llama.cpp as fast as it goes: prompts in whole batches, then one llama_decode per step over all
// streams. One context at a time, kept while the shape stays.
//
// Invariants
//   L1  A measurement starts with an empty cache, in a context that has computed before.
//   L2  Everything but the tokens' sampling happens inside llama_decode; `insideMs` says how much of the time that is.

import type { DecodeCommand, Decoded, LlamaSetting } from './protocol.js'
import type { Llama, LlamaContext, LlamaModel, NativeContext, NativeSampler } from './node-llama-cpp.js'

export interface LlamaEngine {
  /** One stream per prompt; one token of one prompt is a prefill. */
  decode(command: DecodeCommand): Promise<Decoded>
}

interface Shape extends LlamaSetting {
  readonly sequences: number
  readonly contextSize: number
}

interface Prepared {
  readonly shape: string
  readonly context: LlamaContext
  readonly samplers: readonly NativeSampler[] // one per sequence
}

interface Stream {
  readonly sequence: number
  readonly sampler: NativeSampler
  readonly prompt: readonly number[]
  readonly tokens: number[]
  readonly timesMs: number[]
  last: number // the newest token, not in the cache yet
}

export function createEngine(llama: Llama, model: LlamaModel): LlamaEngine {
  let prepared: Prepared | undefined
  const prepare = async (shape: Shape): Promise<Prepared> => {
    const name = JSON.stringify(shape)
    if (prepared?.shape !== name) {
      await prepared?.context.dispose()
      const context = await model.createContext(shape)
      const samplers = Array.from({ length: shape.sequences }, () => greedy(llama, model))
      prepared = { shape: name, context, samplers }
      await generate(prepared, shape.batchSize, { prompts: samplers.map(() => [1, 2]), numTokens: 3 }) // warms up
    }
    for (let i = 0; i < shape.sequences; i++) prepared.context._ctx.disposeSequence(i)
    return prepared
  }
  return {
    decode: async ({ prompts, numTokens, setting }) => {
      const contextSize = Math.max(...prompts.map((prompt) => prompt.length)) + numTokens
      const ready = await prepare({ ...setting, sequences: prompts.length, contextSize })
      return generate(ready, setting.batchSize, { prompts, numTokens })
    },
  }
}

function greedy(llama: Llama, model: LlamaModel): NativeSampler {
  const sampler = new llama._bindings.AddonSampler(model._model)
  sampler.applyConfig({ temperature: 0 })
  return sampler
}

async function generate(
  { context, samplers }: Prepared,
  batchSize: number,
  { prompts, numTokens }: Pick<DecodeCommand, 'prompts' | 'numTokens'>,
): Promise<Decoded> {
  const native = context._ctx
  const streams = samplers.map((sampler, sequence): Stream => {
    return { sequence, sampler, prompt: prompts[sequence] ?? [], tokens: [], timesMs: [], last: 0 }
  })
  const started = performance.now()
  for (const stream of streams) {
    const logit = await prefill(native, stream, batchSize)
    await sample(native, stream, logit)
    stream.timesMs.push(performance.now() - started)
  }
  let insideMs = 0
  for (let step = 1; step < numTokens; step++) {
    insideMs += await decodeStep(native, streams)
    const now = performance.now() - started
    for (const { timesMs } of streams) timesMs.push(now)
  }
  return { tokens: streams.map(({ tokens }) => tokens), timesMs: streams.map(({ timesMs }) => timesMs), insideMs }
}

/** Feeds a prompt in batches; returns the logit index of its last token. */
async function prefill(native: NativeContext, { sequence, prompt }: Stream, batchSize: number): Promise<number> {
  let logit = 0
  for (let start = 0; start < prompt.length; start += batchSize) {
    const part = Uint32Array.from(prompt.slice(start, start + batchSize))
    const isLast = start + part.length === prompt.length
    native.initBatch(part.length)
    const withLogits = isLast ? Uint32Array.of(part.length - 1) : new Uint32Array()
    logit = native.addToBatch(sequence, start, part, withLogits)[0] ?? 0
    await native.decodeBatch()
  }
  return logit
}

/** One token for every stream in one llama_decode; returns the milliseconds spent inside it. */
async function decodeStep(native: NativeContext, streams: readonly Stream[]): Promise<number> {
  native.initBatch(streams.length)
  const logits = streams.map(({ sequence, prompt, tokens, last }) => {
    const position = prompt.length + tokens.length - 1
    return native.addToBatch(sequence, position, Uint32Array.of(last), Uint32Array.of(0))[0] ?? 0
  })
  const before = performance.now()
  await native.decodeBatch()
  const insideMs = performance.now() - before
  await Promise.all(streams.map((stream, i) => sample(native, stream, logits[i] ?? 0)))
  return insideMs
}

async function sample(native: NativeContext, stream: Stream, logit: number): Promise<void> {
  stream.last = await native.sampleToken(logit, stream.sampler)
  stream.tokens.push(stream.last)
}
