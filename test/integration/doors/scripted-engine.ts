// An engine that plays a script: what the doors do with events, errors and aborts is tested without a model.

import { once } from 'node:events'
import type { Logger } from '../../../lib/config/service.js'
import { ClusterError } from '../../../lib/errors.js'
import type {
  GenerateEvent,
  GenerateInput,
  HeldTokens,
  InferenceEngine,
  StepTree,
} from '../../../services/router/engine.js'

type Script = (input: GenerateInput, signal: AbortSignal) => AsyncIterable<GenerateEvent>

export interface EngineCall {
  readonly input: GenerateInput // of a resumed call: its request id alone
  readonly held: HeldTokens | undefined // of a resumed call
  readonly deadlineMs: number | undefined
  readonly signal: AbortSignal
  numEvents: number // taken by the door
  hasEnded: boolean // returned, threw or was left
}

export interface ScriptedEngine extends InferenceEngine {
  readonly calls: readonly EngineCall[]
  readonly cancelled: readonly string[]
  play(script: Script): void
}

export const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

export const accepted = (requestId: string, seed = 7n): GenerateEvent => ({
  kind: 'accepted',
  requestId,
  model: 'demo',
  createdUnixMs: 1_700_000_000_000,
  promptTokens: 3,
  cachedTokens: 1,
  fingerprint: 'bny-0',
  seed,
})

export const chunk = (choice: number, offset: number, text: string, tree?: StepTree): GenerateEvent => ({
  kind: 'chunk',
  choice,
  offset,
  tokenIds: [100 + offset],
  text,
  textEnds: [text.length],
  logprobs: [],
  tree,
})

export const finished = (choice: number, completionTokens: number): GenerateEvent => ({
  kind: 'finished',
  choice,
  reason: 'length',
  stopReason: undefined,
  usage: { promptTokens: 3, cachedTokens: 1, completionTokens },
  stats: {
    ttftMs: 1,
    tpotMs: 1,
    tokensPerSecond: 1,
    steps: 1,
    drafted: 0,
    accepted: 0,
    acceptanceLength: 1,
    draftSteps: 0,
    offered: 0,
    draftMs: 0,
    meanPrice: 0,
  },
})

/** Two tokens for every choice. */
export const answer: Script = async function* ({ requestId, n }) {
  yield accepted(requestId || 'req-1')
  const choices = Array.from({ length: n || 1 }, (_, choice) => choice)
  for (const offset of [0, 1]) for (const choice of choices) yield chunk(choice, offset, offset === 0 ? 'a' : 'b')
  for (const choice of choices) yield finished(choice, 2)
}

export const refuseWith = (error: ClusterError): Script =>
  async function* (): AsyncGenerator<GenerateEvent> {
    yield* []
    throw error
  }

/** One token, then nothing until the door lets go. */
export const hang: Script = async function* ({ requestId }, signal) {
  yield accepted(requestId || 'req-1')
  yield chunk(0, 0, 'a')
  if (!signal.aborted) await once(signal, 'abort')
  throw new ClusterError('cancelled', 'the client left')
}

/** Big chunks for as long as somebody takes them. */
export const flood = (numChunks = Infinity): Script =>
  async function* ({ requestId }) {
    yield accepted(requestId || 'req-1')
    const text = 'x'.repeat(64 * 1024)
    for (let offset = 0; offset < numChunks; offset++) yield chunk(0, offset, text)
    yield finished(0, numChunks)
  }

export function createScriptedEngine(): ScriptedEngine {
  let script = answer
  const calls: EngineCall[] = []
  const cancelled: string[] = []
  const play = async function* (
    input: GenerateInput,
    { signal, deadlineMs }: Parameters<InferenceEngine['generate']>[1],
    held?: HeldTokens,
  ): AsyncGenerator<GenerateEvent> {
    const call: EngineCall = { input, held, deadlineMs, signal, numEvents: 0, hasEnded: false }
    calls.push(call)
    try {
      for await (const event of script(input, signal)) {
        call.numEvents += 1
        yield event
      }
    } finally {
      call.hasEnded = true
    }
  }
  return {
    calls,
    cancelled,
    play: (next) => {
      script = next
      calls.length = 0
      cancelled.length = 0
    },
    version: '0.0.0',
    model: {
      id: 'demo',
      family: 'toy',
      createdUnixMs: 0,
      maxPositions: 64,
      vocabSize: 256,
      numLayers: 1,
      hidden: 8,
      numExperts: 2,
      expertsPerToken: 1,
      eosTokenIds: [],
      reservedTokens: [],
      weightFormat: 'f32',
      hasTokenizer: true,
      hasChatTemplate: true,
    },
    fingerprint: () => 'bny-0',
    fingerprintParts: () => ({
      checkpoint: '0',
      weights: 'int8',
      kv: 'f32',
      deviceClass: 'toy',
      sampler: 'toy-1',
      acceptance: 'exact',
    }),
    generate: (input, options) => play(input, options),
    resume: ({ requestId, held }, options) =>
      play({ requestId, prompt: { kind: 'tokens', tokens: [] }, sampling: {} }, options, held),
    cancel: async (requestId) => {
      cancelled.push(requestId)
      return requestId === 'other' ? undefined : requestId === 'running'
    },
    lookup: async (requestId) =>
      requestId === 'running' ? { requestId, state: 'running', choices: [{ tokenIds: [100], text: 'a' }] } : undefined,
    records: async function* () {},
    status: () => ({
      model: 'demo',
      fingerprint: 'bny-0',
      epoch: 1,
      deviceClasses: { attention: 'toy', experts: 'toy' },
      processes: [],
      requests: { running: 0, waiting: 0 },
      placement: { shards: 1, replicas: 1, copies: 1, imbalance: null, moves: 0 },
      kvUsage: 0,
    }),
    scale: async (wanted) => wanted,
    isReady: () => true,
    tokenize: (text) => Promise.resolve([...Buffer.from(text)]),
    detokenize: (tokens) => Buffer.from(tokens).toString(),
    metrics: async () => 'up 1\n',
    openConsole: () => {
      throw new ClusterError('unimplemented', 'nothing to look at')
    },
  }
}
