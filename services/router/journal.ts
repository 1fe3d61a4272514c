// What is kept of an accepted request so that it outlives its router: the request with its seed, who runs it, the tokens
// so far and how it ended. One record per request in a durable store with compare-and-set.
//
// Invariants
//   J1  A request is acknowledged only after its record is durable (I2).
//   J2  A record changes only by compare-and-set: a router that was overtaken learns so at its next write, and never
//       overwrites its successor.
//   J3  Tokens may lag behind what clients hold: the rest is generated again, and is the same (I1).

import { Packr, Unpackr } from 'msgpackr'
import * as z from 'zod'
import { ClusterError } from '../../lib/errors.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import { samplingSchema } from '../../lib/wire/messages.js'

const STORE_TIMEOUT_MS = 10_000 // a cluster of servers takes some seconds to choose another leader

const count = z.int().min(0)
const tokens = z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.byteLength % 4 === 0, 'want int32s')

const recordSchema = z.object({
  version: z.literal(1),
  id: z.string().min(1),
  tenant: z.string(),
  bodyHash: z.string(),
  createdUnixMs: z.number(),
  deadlineMs: z.number().optional(),
  fingerprint: z.string(),
  door: z.string().optional(),
  session: z.string().optional(),
  traceparent: z.string().optional(), // of the span of its last run
  owner: z.object({ router: z.string(), incarnation: z.string(), run: count }), // its run of the request
  state: z.enum(['running', 'finished', 'failed', 'cancelled', 'left']), // left: the client went, and may come back
  error: z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.string()) }).optional(),
  request: z.object({
    prompt: tokens,
    n: count,
    maxTokens: count,
    stop: z.array(z.string()),
    includeStop: z.boolean(),
    drafts: z.boolean(),
    returnsTrees: z.boolean(),
    priority: z.enum(['high', 'normal', 'low']),
    sampling: samplingSchema,
  }),
  outputs: z.array(tokens), // of each choice, as of the last commit point
})

export type JournalRecord = z.infer<typeof recordSchema>
export type Owner = JournalRecord['owner']

/** A record and its revision in the store. */
export interface JournalEntry {
  readonly record: JournalRecord
  readonly revision: number
}

export interface Journal {
  /** Keeps a new request. Throws `already_exists` where its id is known, `resource_exhausted` where it does not fit. */
  accept(record: JournalRecord): Promise<JournalEntry>
  load(tenant: string, id: string): Promise<JournalEntry | undefined>
  /** Changes a record. Throws `aborted` where somebody else did meanwhile. */
  change(entry: JournalEntry, change: Partial<JournalRecord>): Promise<JournalEntry>
  /** Forgets a record, unless somebody changed it meanwhile. */
  forget(entry: JournalEntry): Promise<void>
}

const packr = new Packr({ useRecords: false })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })

/** A request's name among all tenants': no two of them can meet. */
export const requestKey = (tenant: string, id: string): string => `${tenant}/${id}`

export function createJournal(store: RecordStore): Journal {
  const options = { timeoutMs: STORE_TIMEOUT_MS }

  const put = async (record: JournalRecord, expected: number): Promise<JournalEntry> => {
    const value = packr.pack(record)
    return { record, revision: await store.put(requestKey(record.tenant, record.id), value, expected, options) }
  }

  return {
    accept: async (record) => {
      try {
        return await put(record, 0)
      } catch (error) {
        if (!isOvertaken(error)) throw error
        throw new ClusterError('already_exists', `request ${record.id}: known already`, { cause: error })
      }
    },
    load: async (tenant, id) => {
      const stored = await store.get(requestKey(tenant, id), options)
      return stored && { record: read(stored.value, id), revision: stored.revision }
    },
    change: ({ record, revision }, change) => put({ ...record, ...change }, revision),
    forget: ({ record: { tenant, id }, revision }) => store.remove(requestKey(tenant, id), { ...options, revision }),
  }
}

/** Whether a change was refused because the record is not what it was. */
export const isOvertaken = (error: unknown): boolean => ClusterError.from(error).code === 'aborted'

export const isSameOwner = (a: Owner, b: Owner): boolean =>
  a.router === b.router && a.incarnation === b.incarnation && a.run === b.run

function read(bytes: Uint8Array, id: string): JournalRecord {
  try {
    return recordSchema.parse(unpackr.unpack(bytes))
  } catch (error) {
    throw new ClusterError('data_loss', `journal: the record of request ${id} cannot be read`, { cause: error })
  }
}

export const packTokens = (ids: readonly number[]): Uint8Array => {
  const bytes = Buffer.alloc(ids.length * 4)
  ids.forEach((token, i) => bytes.writeInt32LE(token, i * 4))
  return bytes
}

export const unpackTokens = (bytes: Uint8Array): number[] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getInt32(i * 4, true))
}
