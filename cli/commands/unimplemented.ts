// Commands that belong to the surface but not to this version: they say so.

import { ClusterError } from '../../lib/errors.js'

export function unimplemented(command: string): never {
  throw new ClusterError('unimplemented', `${command}: not in this version`)
}
