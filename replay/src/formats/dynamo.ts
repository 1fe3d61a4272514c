// Dynamo's request traces (`dynamo.request.trace.v1`): one JSON line per event, of which `request_end` is a request.
// Some sinks put a time around the event. Prompts are lengths and hashes of their blocks.

import { counted, wereOrWas } from '../counted.js'
import { blocksPrompt } from './block-names.js'
import {
  count,
  isRow,
  list,
  object,
  optionalCount,
  optionalId,
  optionalText,
  optionalTime,
  parseRow,
  shown,
  time,
  type Row,
} from './fields.js'
import { BadItem, type RawRequest, type Reader, type TraceFormat } from './format.js'

export const DYNAMO_SCHEMA = 'dynamo.request.trace.v1'

const NO_REQUESTS = new Set(['request_payload', 'tool_start', 'tool_end', 'tool_error'])

const eventOf = (row: Row): Row => (isRow(row.event) ? row.event : row)

function createReader(): Reader {
  let numWithoutPrompt = 0

  const read = (row: Row): readonly RawRequest[] => {
    const event = eventOf(row)
    if (event.schema !== DYNAMO_SCHEMA) throw new BadItem(`schema: want ${DYNAMO_SCHEMA}, found ${shown(event.schema)}`)
    if (typeof event.event_type === 'string' && NO_REQUESTS.has(event.event_type)) return []
    if (event.event_type !== 'request_end')
      throw new BadItem(`event_type: want request_end or a tool's, found ${shown(event.event_type)}`)
    const request = object(event, 'request')
    const prompt = promptOf(request)
    if (prompt === undefined) {
      numWithoutPrompt++
      return []
    }
    const context = isRow(event.agent_context) ? event.agent_context : {}
    const session = optionalId(context, 'trajectory_id') ?? optionalId(context, 'session_id')
    const model = optionalText(request, 'model')
    const outputTokens = optionalCount(request, 'output_tokens')
    const durationMs = optionalTime(request, 'total_time_ms')
    return [
      {
        id: optionalId(request, 'request_id'),
        timeMs: receivedMs(event, request),
        prompt,
        ...(outputTokens !== undefined && { outputTokens }),
        sampling: {},
        ...(durationMs !== undefined && { durationMs }),
        ...(session !== undefined && { session }),
        ...(model !== undefined && { model }),
      },
    ]
  }

  return {
    read: (item) => read(parseRow(item)),
    finish: () => ({
      notices:
        numWithoutPrompt === 0
          ? []
          : [
              `${counted(numWithoutPrompt, 'request')} without the length of a prompt ${wereOrWas(numWithoutPrompt)} left out`,
            ],
    }),
  }
}

/** Without the moment of arrival, the end less how long it took. */
const receivedMs = (event: Row, request: Row): number =>
  optionalTime(request, 'request_received_ms') ??
  Math.max(0, time(event, 'event_time_unix_ms') - (optionalTime(request, 'total_time_ms') ?? 0))

function promptOf(request: Row): RawRequest['prompt'] | undefined {
  if (!isRow(request.replay)) {
    const numTokens = optionalCount(request, 'input_tokens')
    return numTokens === undefined ? undefined : { kind: 'blocks', numTokens, blockTokens: 1, blocks: [] }
  }
  const numTokens = count(request.replay, 'input_length')
  const blockTokens = count(request.replay, 'trace_block_size')
  if (blockTokens === 0) throw new BadItem('trace_block_size: want at least 1, found 0')
  const hashes = list(request.replay, 'input_sequence_hashes')
  return blocksPrompt('input_sequence_hashes', hashes, { numTokens, blockTokens })
}

export const dynamo: TraceFormat = {
  name: 'dynamo',
  isDated: true,
  isOrdered: false,
  recognise: ({ values }) => {
    const rows = values.filter(isRow)
    if (rows.length === 0) return 'its lines are no JSON objects'
    return rows.some((row) => eventOf(row).schema === DYNAMO_SCHEMA)
      ? undefined
      : `no line has the schema ${DYNAMO_SCHEMA}`
  },
  createReader,
}
