// Our own records, one JSON line per request (`lib/traffic/request-record.ts`), as a router or `trace convert` wrote
// them. A converted record has no fingerprint: nobody gave its answer, so there is none to compare with.

import { counted, wereOrWas } from '../counted.js'
import { RECORD_SCHEMA, requestRecordSchema, type RequestRecord } from '../../../lib/traffic/request-record.js'
import type { RecordedAnswer, TracePrompt } from '../trace.js'
import { parseRow, rowWith, shown, type Row } from './fields.js'
import { BadItem, type RawRequest, type Reader, type ReaderOptions, type TraceFormat } from './format.js'
import { samplingOf } from './sampling.js'

const inside = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined

/** The record that a row is; what is wrong with it is said with its path. */
export function parseRecord(row: Row): RequestRecord {
  const parsed = requestRecordSchema.safeParse(row)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue?.path.map(String) ?? []
  const found = path.reduce<unknown>(inside, row)
  throw new BadItem(`${path.join('.') || 'record'}: ${issue?.message ?? 'wrong'}, found ${shown(found)}`)
}

function promptOf({ prompt }: RequestRecord): TracePrompt {
  if (prompt.ids !== undefined) return { kind: 'tokens', tokens: prompt.ids }
  if (prompt.text !== undefined) return { kind: 'text', text: prompt.text }
  return { kind: 'blocks', numTokens: prompt.numTokens, blockTokens: prompt.blockTokens, blocks: prompt.blockHashes }
}

function answerOf({
  fingerprint,
  fingerprintParts,
  choices,
  outcome,
  traceId,
  prompt: { cachedTokens },
  error,
}: RequestRecord): RecordedAnswer | undefined {
  if (fingerprint === '') return undefined
  const ids = choices.flatMap((choice) => (choice.ids === undefined ? [] : [choice.ids]))
  const texts = choices.flatMap((choice) => (choice.text === undefined ? [] : [choice.text]))
  return {
    fingerprint,
    ...(fingerprintParts !== undefined && { fingerprintParts }),
    finishReasons: choices.map(({ finishReason = '' }) => finishReason),
    numTokens: choices.map(({ numTokens }) => numTokens),
    tokenHashes: choices.map(({ hash }) => hash),
    ...(ids.length === choices.length && { tokenIds: ids }),
    ...(texts.length === choices.length && { texts }),
    isWhole: outcome === 'finished',
    ...(traceId !== undefined && { traceId }),
    ...(cachedTokens > 0 && { cachedTokens }),
    ...(outcome !== 'finished' && { outcome }),
    ...(error !== undefined && { error }),
  }
}

const LEFT_REASONS: ReadonlySet<string | undefined> = new Set(['CLIENT_LEFT', 'ROUTER_LEAVING'])

interface Standing {
  isLeft: boolean
  endMs: number
  request: RawRequest
}

/** Ids are a tenant's own, and a record does not tell whose it is; who comes back asks the same. */
const nameOf = ({ id, prompt }: RequestRecord): string =>
  JSON.stringify([id, prompt.numTokens, prompt.blockHashes[prompt.blockHashes.length - 1]])

/** The second of an id gets a suffix, and so on. */
function withOwnIds(requests: readonly RawRequest[]): RawRequest[] {
  const seen = new Map<string | undefined, number>()
  return requests.map((request) => {
    const count = (seen.get(request.id) ?? 0) + 1
    seen.set(request.id, count)
    return count === 1 ? request : { ...request, id: `${request.id}#${count}` }
  })
}

/** A request that was left and came back has several records: the one that ended last stands. */
function createReader({ keepsRecords = false }: ReaderOptions): Reader {
  const all: Standing[] = []
  const last = new Map<string, Standing>()
  let numEarlier = 0
  return {
    tornNotice: 'the last line is torn (its writer was killed) and was left out',
    read: (item) => {
      const record = parseRecord(parseRow(item))
      const request = { ...toRequest(record), ...(keepsRecords && { record }) }
      const name = nameOf(record)
      const known = last.get(name)
      const isLeft = record.outcome === 'cancelled' && LEFT_REASONS.has(record.error?.reason)
      const one = { isLeft, endMs: record.arrivalUnixMs + record.endMs, request }
      const [earlier, later] = known === undefined || one.endMs >= known.endMs ? [known, one] : [one, known]
      if (known !== undefined && earlier?.isLeft === true) {
        numEarlier++
        Object.assign(known, later)
      } else {
        all.push(one)
        last.set(name, one)
      }
      return []
    },
    finish: () => ({
      requests: withOwnIds(all.map(({ request }) => request)),
      notices:
        numEarlier === 0
          ? []
          : [
              `${counted(numEarlier, 'record')} of requests that were left and came back ${wereOrWas(numEarlier)} left out`,
            ],
    }),
  }
}

function toRequest(record: RequestRecord): RawRequest {
  const recorded = answerOf(record)
  const lengths = record.choices.map(({ numTokens }) => numTokens)
  return {
    id: record.id,
    timeMs: record.arrivalUnixMs,
    prompt: promptOf(record),
    ...(lengths.length > 0 && { outputTokens: Math.max(...lengths) }),
    durationMs: record.endMs,
    sampling: samplingOf(record.params),
    ...(record.session !== undefined && { session: record.session }),
    ...(record.model !== '' && { model: record.model }),
    ...(recorded !== undefined && { recorded }),
  }
}

export const banyan: TraceFormat = {
  name: 'banyan',
  isDated: true,
  isOrdered: false,
  recognise: (sample) => {
    const row = rowWith(sample, ['schema'])
    if (typeof row === 'string') return row
    return row.schema === RECORD_SCHEMA ? undefined : `its schema is not ${RECORD_SCHEMA}`
  },
  createReader,
}
