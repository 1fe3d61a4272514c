// Files of routed experts beside the records: `experts/<request>-<choice>.npy` in the trace folder, as vLLM's
// `routed_experts`. A record names its files; they are written after it, one after the other.
//
// Invariants
//   E1  A file is whole under its name, and only its owner can read it. The same request run again replaces it.
//   E2  Rows are kept within one bound until they are written; what finds no room, or cannot be written, is dropped and
//       said, and costs no token.

import { createHash } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '../../../lib/config/service.js'
import type { ModelSpec } from '../../../lib/model/spec.js'
import { topKOf } from '../../../lib/model/top-k.js'
import { encodeNpy } from '../../../lib/traffic/npy.js'
import { requestKey } from '../journal.js'
import type { RequestRecord } from '../requests.js'
import { createRoutesKeeper, type RoutedExperts } from '../routed-experts.js'

const FOLDER = 'experts'
const FILE_MODE = 0o600
const MAX_BYTES = 256 * 2 ** 20 // of rows that are kept
const KEY_DIGITS = 8

export interface ExpertFilesOptions {
  readonly folder: string // of the trace
  readonly writer: string // no other process that writes there has this name
  readonly spec: ModelSpec
  readonly logger: Logger
}

export interface ExpertFiles {
  /** Where the rows of one more sequence are kept. */
  open(this: void): RoutedExperts
  add(file: ExpertFile): void
  /** Resolves when all that was added is written or dropped. */
  flush(): Promise<void>
}

/** The rows of a choice of a request that ended. */
export interface ExpertFile {
  readonly name: string
  readonly numTokens: number
  readonly routes: RoutedExperts
}

export function createExpertFiles({ folder, writer, spec, logger }: ExpertFilesOptions): ExpertFiles {
  let isTold = false // that some are dropped
  let written = Promise.resolve()
  const drop = (why: string): void => {
    if (!isTold) logger.warn({ folder, why }, 'routed experts are dropped')
    isTold = true
  }

  const write = async ({ name, numTokens, routes }: ExpertFile): Promise<void> => {
    const path = join(folder, name)
    const part = `${path}.${writer}.part`
    const { values, shape } = routes.rows(numTokens)
    routes.drop()
    try {
      await mkdir(join(folder, FOLDER), { recursive: true })
      await writeFile(part, encodeNpy(values, shape), { mode: FILE_MODE })
      await rename(part, path)
      isTold = false
    } catch (error) {
      drop(error instanceof Error ? error.message : String(error))
      await rm(part, { force: true }).catch(() => undefined) // it was not whole
    }
  }

  return {
    open: createRoutesKeeper({
      numLayers: spec.layers.length,
      topK: topKOf(spec),
      maxBytes: MAX_BYTES,
      onFull: () => drop(`want room for more than ${MAX_BYTES} bytes`),
    }),
    add: (file) => void (written = written.then(() => write(file))),
    flush: () => written,
  }
}

/** Of a choice that keeps rows: the id as far as a file may be called so, and what tells it from all others. */
export function expertFileName({ tenant, id }: Pick<RequestRecord, 'tenant' | 'id'>, choice: number): string {
  const key = createHash('sha256').update(requestKey(tenant, id)).digest('hex').slice(0, KEY_DIGITS)
  return `${FOLDER}/${id.replace(/[^A-Za-z0-9_-]/g, '_')}-${key}-${choice}.npy`
}
