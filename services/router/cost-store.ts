// Keeps what cost models learned across restarts: one JSON file, one entry per kind of cluster (see `costKey`). It is a
// cache: without it, or with a damaged one, everything works and is learned again.
//
// Invariants
//   K1  The file is whole at any time: it is written beside and renamed.
//   K2  At most MAX_ENTRIES entries, the oldest leave; a file above MAX_BYTES is not read.
//   K3  Written at most every SAVE_EVERY_MS, and at `close`. What cannot be read or written is told once, then left alone.
//   K4  Routers that share a file keep each other's entries.

import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import * as z from 'zod'
import type { Clock } from '../../lib/actor/actor.js'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import { COST_TERMS, createCostModel, type CostModel, type CostModelState } from './cost-model.js'
import type { ExpertShape } from './expert-spread.js'

const VERSION = 1
const SAVE_EVERY_MS = 30_000
const MAX_ENTRIES = 32
const MAX_BYTES = 4 * 1024 * 1024

const value = z.number() // zod refuses NaN and infinities
const amount = z.number().min(0)
const terms = z.array(amount).length(COST_TERMS.length)
const stateSchema = z.object({
  fit: z.object({
    coefficients: terms,
    deviation: amount,
    level: value,
    numObserved: amount,
    classes: z
      .array(z.object({ products: z.array(amount).length(COST_TERMS.length ** 2), moments: terms, weight: amount }))
      .length(10),
  }),
  spread: z.object({ information: z.number().positive(), evidence: value }),
})
const entrySchema = z.object({ key: z.string().max(1024), savedUnixMs: value, model: stateSchema })
const fileSchema = z.object({
  version: z.literal(VERSION),
  terms: z.array(z.string()).refine((names) => names.join() === COST_TERMS.join()),
  entries: z.array(entrySchema).max(MAX_ENTRIES),
})

interface Entry {
  readonly key: string
  readonly savedUnixMs: number
  readonly model: CostModelState
}

export interface CostStoreOptions {
  readonly file?: string | undefined // absent: nothing is read or written
  readonly writer: string // unique in the folder, names the file that is written beside
  readonly clock: Clock
  readonly logger: Pick<Logger, 'warn'>
}

export interface CostStore {
  /** The model of a kind of cluster, from the file where it is known; the same one for the same key. */
  open(key: string, experts: ExpertShape): CostModel
  /** Writes what was learned and stops the timer. */
  close(): void
}

/** What a model's times hold for: change one of these and other times are learned. */
export const costKey = (kind: {
  readonly deviceClass: string
  readonly fingerprint: string // of checkpoint and weight format
  readonly weights: string
  readonly transport: string
  readonly numAttention: number
  readonly numExperts: number
}): string => {
  const { deviceClass, fingerprint, weights, transport, numAttention, numExperts } = kind
  return [deviceClass, fingerprint, weights, transport, `${numAttention} attention`, `${numExperts} experts`].join(
    ' | ',
  )
}

export function createCostStore({ file, writer, clock, logger }: CostStoreOptions): CostStore {
  const models = new Map<string, CostModel>()
  const saved = new Map<string, number>() // key → observations at the last save
  let isBroken = false

  const warn = (what: string, error: unknown): void => {
    if (!isBroken) logger.warn({ file, error: ClusterError.from(error).message }, what)
    isBroken = true
  }

  const read = (path: string): readonly Entry[] => {
    try {
      return readEntries(path)
    } catch (error) {
      warn('cost model file: not readable, ignored; what it held is learned again', error)
      return []
    }
  }

  const save = (): void => {
    const changed = [...models].flatMap(([key, model]): Entry[] => {
      const state = model.snapshot()
      if (state.fit.numObserved === (saved.get(key) ?? 0)) return []
      saved.set(key, state.fit.numObserved)
      return [{ key, savedUnixMs: clock.now(), model: state }]
    })
    if (file === undefined || changed.length === 0) return
    try {
      const others = read(file).filter(({ key }) => !changed.some((entry) => entry.key === key))
      const entries = [...changed, ...others].sort((a, b) => b.savedUnixMs - a.savedUnixMs).slice(0, MAX_ENTRIES)
      writeWhole(file, `${file}.${writer}.partial`, entries)
    } catch (error) {
      warn('cost model file: not writable; what is learned ends with this process', error)
    }
  }

  const tick = (): void => {
    save()
    cancel = clock.after(SAVE_EVERY_MS, tick)
  }
  let cancel = file === undefined ? (): void => undefined : clock.after(SAVE_EVERY_MS, tick)
  const known = new Map((file === undefined ? [] : read(file)).map((entry) => [entry.key, entry.model]))

  return {
    open: (key, experts) => {
      const model = models.get(key) ?? createCostModel(experts, known.get(key))
      models.set(key, model)
      saved.set(key, saved.get(key) ?? model.snapshot().fit.numObserved)
      return model
    },
    close: () => {
      cancel()
      save()
    },
  }
}

/** Throws where there is a file that this version did not write whole. */
function readEntries(file: string): readonly Entry[] {
  const size = statSync(file, { throwIfNoEntry: false })?.size
  if (size === undefined) return []
  if (size > MAX_BYTES) throw new ClusterError('internal', `want at most ${MAX_BYTES} bytes, found ${size}`)
  const parsed = fileSchema.safeParse(JSON.parse(readFileSync(file, 'utf8')))
  if (!parsed.success) throw new ClusterError('internal', `want what this version writes, found something else`)
  return parsed.data.entries
}

function writeWhole(file: string, partial: string, entries: readonly Entry[]): void {
  mkdirSync(dirname(file), { recursive: true })
  try {
    writeFileSync(partial, JSON.stringify({ version: VERSION, terms: COST_TERMS, entries }), { mode: 0o600 })
    renameSync(partial, file)
  } finally {
    rmSync(partial, { force: true })
  }
}
