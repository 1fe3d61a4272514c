// Where clusters of the tests keep packed weights: what one packed the next one maps, as for a user. Goes with this process.

import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const weightCache = join(tmpdir(), `banyan-test-weights-${randomUUID()}`)

process.once('exit', () => rmSync(weightCache, { recursive: true, force: true }))
