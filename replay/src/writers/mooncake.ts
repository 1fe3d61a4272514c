// Mooncake's JSON lines with AIPerf's fields: what `formats/mooncake.ts` reads.

import { blockId } from '../formats/block-names.js'
import { MOONCAKE_BLOCK_TOKENS } from '../formats/mooncake.js'
import type { Trace, TraceRequest } from '../trace.js'
import { blocksAt, lost, withIntegers, type Writer } from './writer.js'

const MIN_OUTPUT = 1 // AIPerf refuses a trace with an answer of 0 tokens, and a replay asks for one too

export const writeMooncake: Writer = (trace) => ({
  lines: toLines(trace),
  losses: [
    ...lost(trace, ['ids', 'ids of prompt tokens', 'texts of answers whose length is unknown', 'seeds']),
    ...lost(trace, ['sampling parameters', 'models', 'durations', 'recorded answers']),
    ...(trace.startUnixMs === undefined ? [] : ['dates']),
    ...(trace.requests.some(({ outputTokens }) => outputTokens === 0) ? ['answers of 0 tokens (1 is written)'] : []),
    ...(hasForeignBlocks(trace) ? [`block names of other sizes than divide ${MOONCAKE_BLOCK_TOKENS} tokens`] : []),
  ],
})

function* toLines({ requests, isUntimed }: Trace): Generator<string> {
  for (const request of requests) yield toLine(request, isUntimed === true)
}

function toLine({ prompt, arrivalMs, outputTokens, session, delayMs }: TraceRequest, isUntimed: boolean): string {
  const rest = {
    ...(!isUntimed && { timestamp: arrivalMs }),
    ...(prompt.kind === 'text' && { text_input: prompt.text }),
    ...(prompt.kind === 'chat' && { messages: prompt.messages }),
    ...(outputTokens !== undefined && { output_length: Math.max(MIN_OUTPUT, outputTokens) }),
    ...(session !== undefined && { session_id: session }),
    ...(delayMs !== undefined && { delay: delayMs }),
  }
  const blocks = blocksAt(prompt, MOONCAKE_BLOCK_TOKENS)
  if (blocks === undefined) return JSON.stringify(rest)
  const row = { ...rest, input_length: blocks.numTokens }
  return blocks.names.length === 0 ? JSON.stringify(row) : withIntegers(row, 'hash_ids', blocks.names.map(blockId))
}

const hasForeignBlocks = ({ requests }: Trace): boolean =>
  requests.some(
    ({ prompt }) =>
      prompt.kind === 'blocks' && prompt.blocks.length > 0 && MOONCAKE_BLOCK_TOKENS % prompt.blockTokens !== 0,
  )
