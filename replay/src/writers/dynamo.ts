// Dynamo's request traces, one `request_end` per request: what `formats/dynamo.ts` reads.

import { counted } from '../counted.js'
import { createHash } from 'node:crypto'
import { blockId } from '../formats/block-names.js'
import { DYNAMO_SCHEMA } from '../formats/dynamo.js'
import type { Trace, TraceRequest } from '../trace.js'
import { blocksAt, lost, withIntegers, type Writer } from './writer.js'

const BLOCK_TOKENS = 512 // where the trace has no blocks of its own

export const writeDynamo: Writer = (trace) => {
  const numTexts = trace.requests.filter(({ prompt }) => prompt.kind === 'text' || prompt.kind === 'chat').length
  return {
    lines: toLines(trace),
    losses: [
      ...lost(trace, ['ids of prompt tokens', 'texts of answers whose length is unknown', 'seeds']),
      ...lost(trace, ['sampling parameters', 'delays between turns', 'recorded answers', 'fractions of a millisecond']),
      ...(numTexts > 0
        ? [`${counted(numTexts, 'request')} with texts, because lengths of texts in tokens are unknown`]
        : []),
    ],
  }
}

function* toLines({ requests, startUnixMs = 0 }: Trace): Generator<string> {
  for (const request of requests) {
    const line = toLine(request, Math.round(startUnixMs + request.arrivalMs))
    if (line !== undefined) yield line
  }
}

function toLine(
  { id, prompt, model, outputTokens, session, durationMs = 0 }: TraceRequest,
  receivedMs: number,
): string | undefined {
  const blockTokens = prompt.kind === 'blocks' && prompt.blocks.length > 0 ? prompt.blockTokens : BLOCK_TOKENS
  const blocks = blocksAt(prompt, blockTokens)
  if (blocks === undefined) return undefined
  const numBlocks = Math.ceil(blocks.numTokens / blockTokens)
  const names = Array.from({ length: numBlocks }, (_, i) => blocks.names[i] ?? ownName(id, i))
  const row = {
    schema: DYNAMO_SCHEMA,
    event_type: 'request_end',
    event_time_unix_ms: Math.round(receivedMs + durationMs),
    ...(session !== undefined && { agent_context: { session_id: session, trajectory_id: session } }),
  }
  const request = {
    request_id: id,
    ...(model !== undefined && { model }),
    input_tokens: blocks.numTokens,
    ...(outputTokens !== undefined && { output_tokens: outputTokens }),
    request_received_ms: receivedMs,
    total_time_ms: durationMs,
  }
  const replay = { trace_block_size: blockTokens, input_length: blocks.numTokens }
  const hashes = withIntegers(replay, 'input_sequence_hashes', names.map(blockId))
  return `${JSON.stringify(row).slice(0, -1)},"request":${JSON.stringify(request).slice(0, -1)},"replay":${hashes}}}`
}

/** A block that no other request has. */
const ownName = (id: string, block: number): string =>
  createHash('sha256').update(`${id} ${block}`).digest('hex').slice(0, 16)
