// Where the routers of a cluster keep what they accepted, by the setting `journal`.
//
// Invariants
//   O1  A folder means that the journal is wanted: what cannot be kept then fails the start.
//   O2  `auto` keeps what can be kept, and says once what it does without.
//   O3  Who waits for a server waits as long for its JetStream: servers that start together answer before they have a leader.

import { ClusterError } from '../errors.js'
import { openFileStore } from '../transport/file-store.js'
import { createMemoryStore } from '../transport/memory-store.js'
import { DEFAULT_OPEN_TIMEOUT_MS, type RecordStore } from '../transport/record-store.js'
import type { Transport } from '../transport/transport.js'
import { subjects } from '../wire/subjects.js'
import type { Logger } from './service.js'

export interface SharedJournalOptions {
  readonly journal: string
  readonly journalReplicas?: number | undefined // servers that keep each record
  readonly transport: Transport
  readonly cluster: string
  readonly logger: Logger
  readonly maxBytes?: number
  readonly natsWaitSeconds?: number
}

/** The folder that is named, if any. */
export const journalFolder = (journal: string): string | undefined =>
  journal === 'auto' || journal === 'off' ? undefined : journal

/** The cluster's own stream on its server; undefined where the journal is off or the server can keep nothing. */
export async function openSharedJournal({
  journal,
  journalReplicas,
  transport,
  cluster,
  logger,
  maxBytes,
  natsWaitSeconds = 0,
}: SharedJournalOptions): Promise<RecordStore | undefined> {
  if (journal === 'off' || transport.openRecords === undefined) return undefined
  try {
    return await transport.openRecords({
      stream: `banyan-${cluster}-requests`,
      subject: subjects.journal(cluster),
      maxBytes,
      replicas: journalReplicas,
      timeoutMs: Math.max(DEFAULT_OPEN_TIMEOUT_MS, natsWaitSeconds * 1000),
    })
  } catch (error) {
    const { code, message } = ClusterError.from(error)
    const canDoWithout = code === 'failed_precondition' || code === 'resource_exhausted'
    if (journalFolder(journal) !== undefined || !canDoWithout) throw error
    logger.warn({ error: message }, 'accepted requests are not journaled: they are lost with their router')
    return undefined
  }
}

/** One store for all routers of this process; undefined where the journal is off. */
export async function openOwnJournal(journal: string, logger: Logger): Promise<RecordStore | undefined> {
  if (journal === 'off') return undefined
  const folder = journalFolder(journal)
  if (folder === undefined) return createMemoryStore()
  return openFileStore(folder, { onDamage: (line) => logger.warn({ folder }, line) })
}
