// What a started cluster is to the commands, however its services run.

import type { Doors } from './supervise.js'

export interface RunningServices {
  readonly routers: readonly Doors[]
  /** `drain` finishes what was accepted first. When it resolves, nothing of the services is left. */
  leave(how: 'drain' | 'stop'): Promise<void>
}
