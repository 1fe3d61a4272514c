// Our own records, as they are where they were read from some. A trace of others gives records without fingerprint, for nobody's answer is in them.

import { hashBlocks, hashTokens, RECORD_SCHEMA, type RequestRecord } from '../../../lib/traffic/request-record.js'
import { paramsOf } from '../formats/sampling.js'
import type { RecordedAnswer, Trace, TracePrompt, TraceRequest } from '../trace.js'
import { lost, type Writer } from './writer.js'

const NO_HASH = '0'.repeat(16) // of an answer that nobody recorded
const BLOCK_TOKENS = 512

export const writeBanyan: Writer = (trace) => ({
  lines: toLines(trace),
  losses: trace.requests.every(({ record }) => record !== undefined) ? [] : lossesOf(trace),
})

const lossesOf = (trace: Trace): string[] => [
  ...lost(trace, ['chat messages', 'texts of answers whose length is unknown', 'delays between turns']),
  ...(trace.requests.some(({ prompt }) => prompt.kind === 'text' || prompt.kind === 'chat')
    ? ['lengths of texts in tokens, which are unknown (0 stands for them)']
    : []),
]

function* toLines({ requests, startUnixMs = 0 }: Trace): Generator<string> {
  for (const request of requests) yield JSON.stringify(request.record ?? toRecord(request, startUnixMs))
}

function toRecord(request: TraceRequest, startUnixMs: number): RequestRecord {
  const { id, arrivalMs, durationMs, model, session, sampling, outputTokens, recorded } = request
  const { prompt, content } = promptOf(request.prompt)
  return {
    schema: RECORD_SCHEMA,
    id,
    arrivalUnixMs: Math.round((startUnixMs + arrivalMs) * 1000) / 1000, // whole microseconds, as they were read
    endMs: durationMs ?? 0,
    model: model ?? '',
    fingerprint: recorded?.fingerprint ?? '',
    ...(recorded?.fingerprintParts !== undefined && { fingerprintParts: { ...recorded.fingerprintParts } }),
    router: '',
    ...(recorded?.traceId !== undefined && { traceId: recorded.traceId }),
    ...(session !== undefined && { session }),
    content,
    prompt: { ...prompt, cachedTokens: recorded?.cachedTokens ?? 0 },
    params: paramsOf(sampling, outputTokens),
    choices: recorded === undefined ? lengthOnly(outputTokens) : choicesOf(recorded),
    outcome: outcomeOf(recorded),
    ...(recorded?.error !== undefined && { error: { ...recorded.error } }),
  }
}

function outcomeOf(recorded: RecordedAnswer | undefined): RequestRecord['outcome'] {
  return recorded?.isWhole === false ? (recorded.outcome ?? 'cancelled') : 'finished'
}

function promptOf(prompt: TracePrompt): Pick<RequestRecord, 'prompt' | 'content'> {
  const empty = { numTokens: 0, cachedTokens: 0, blockTokens: BLOCK_TOKENS, blockHashes: [] }
  switch (prompt.kind) {
    case 'tokens': {
      const ids = [...prompt.tokens]
      return { content: 'ids', prompt: { ...empty, numTokens: ids.length, blockHashes: hashBlocks(ids), ids } }
    }
    case 'text':
      return { content: 'text', prompt: { ...empty, text: prompt.text } }
    case 'chat':
      return { content: 'text', prompt: { ...empty, text: prompt.messages.map(({ content }) => content).join('\n') } }
    case 'blocks': {
      const { numTokens, blockTokens, blocks } = prompt
      return { content: 'hash', prompt: { ...empty, numTokens, blockTokens, blockHashes: [...blocks] } }
    }
  }
}

type Choice = RequestRecord['choices'][number]

const UNTIMED = { chunks: [], steps: 0, drafted: 0, accepted: 0 }

const lengthOnly = (numTokens: number | undefined): Choice[] =>
  numTokens === undefined ? [] : [{ numTokens, hash: NO_HASH, finishReason: 'length', ...UNTIMED }]

const choicesOf = ({ numTokens, tokenIds, tokenHashes, texts, finishReasons }: RecordedAnswer): Choice[] =>
  numTokens.map((count, i) => {
    const [ids, text, finishReason] = [tokenIds?.[i], texts?.[i], finishReasons[i] ?? '']
    return {
      numTokens: count,
      hash: tokenHashes?.[i] ?? (ids === undefined ? NO_HASH : hashTokens(ids)),
      ...(ids !== undefined && { ids: [...ids] }),
      ...(text !== undefined && { text }),
      ...(finishReason !== '' && { finishReason }),
      ...UNTIMED,
    }
  })
