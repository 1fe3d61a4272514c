// Has the lead router change the plan, one change after the other, while expert workers differ in what they have to do.
//
// Invariants
//   B4  One change at a time: the next one when every worker holds what the plan gives it.
//   B5  It does not waver: a change must pay in each of the last two windows (B2), and what pays little is left.

import type { Logger } from '../../lib/config/service.js'
import { imbalanceOf, type ExpertLoad } from './expert-load.js'
import type { PlacementManager } from './placement-manager.js'
import { loadsOf, nextChange } from './rebalance.js'

const NUM_WINDOWS = 2

export interface RebalanceFigures {
  readonly moves: number // changes that this router decided
  /** Busiest worker over the mean, as expected before and after the last change. */
  readonly last: { readonly before: number; readonly after: number } | undefined
}

export interface Rebalancer {
  readonly figures: RebalanceFigures
  /** Call it about once a second. */
  tick(): void
}

export interface RebalancerOptions {
  readonly placement: Pick<PlacementManager, 'plan' | 'workers' | 'isSettled' | 'adopt'>
  readonly load: Pick<ExpertLoad, 'windows'>
  readonly isLead: () => boolean
  readonly logger: Logger
}

export function createRebalancer({ placement, load, isLead, logger }: RebalancerOptions): Rebalancer {
  let moves = 0
  let last: RebalanceFigures['last']
  let judged: unknown // the windows and the plan for which there was nothing to do

  const tick = (): void => {
    const { windows } = load
    const { plan, workers } = placement
    if (!isLead() || !placement.isSettled || windows.length < NUM_WINDOWS) return
    const [newest = []] = windows
    if (judged === newest) return
    const change = nextChange({ plan, workers, windows })
    if (change === undefined) {
      judged = newest
      return
    }
    const ids = workers.map(({ id }) => id)
    const imbalance = ({ plan: of }: { readonly plan: typeof plan }): number =>
      imbalanceOf(loadsOf(of, ids, newest)) ?? 1
    last = { before: imbalance({ plan }), after: imbalance(change) }
    moves += 1
    const { what, shards, from, to } = change
    logger.info({ what, shards, from, to, ...last }, 'expert shards are rebalanced')
    placement.adopt(change.plan)
  }

  return {
    get figures() {
      return { moves, last }
    },
    tick,
  }
}
