// What a started cluster is to the commands, however its services run.

import type { LoadProgress } from '../../lib/decode/load-progress.js'
import type { Sizes, WantedSizes } from '../../lib/wire/sizes.js'
import type { Doors } from './supervise.js'

/** Hears how far a service's load has come. */
export type OnLoading = (service: string, progress: LoadProgress) => void

export interface RunningServices {
  readonly routers: readonly Doors[] // ascending index; those that drain are left out
  /** Called when a router came, or began to leave. */
  onRouters(listener: () => void): void
  /** Asks for other sizes; returns those that hold from now on. Services start and drain meanwhile. */
  scale(wanted: WantedSizes): Sizes
  /** `drain` finishes what was accepted first. When it resolves, nothing of the services is left. */
  leave(how: 'drain' | 'stop'): Promise<void>
}
