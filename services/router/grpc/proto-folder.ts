// Where the public proto files lie: `proto/` at the package's root, also when this runs compiled from dist/.

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClusterError } from '../../../lib/errors.js'

const FILE = join('banyan', 'v1', 'inference.proto')

/** Walks up from this file. Throws `internal` where the package is incomplete. */
export function protoFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'proto', FILE))) return join(folder, 'proto')
    if (dirname(folder) === folder) throw new ClusterError('internal', `proto/${FILE} is missing from the package`)
  }
}
