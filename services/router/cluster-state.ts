// What this router knows of the workers and agrees on with other routers: who is there, which device classes serve, who
// holds which shard, and what the shards have to do.

import type { RouterOptions, ServiceDeps } from '../../lib/config/service.js'
import type { ClusterError } from '../../lib/errors.js'
import type { Body, Heartbeat } from '../../lib/wire/messages.js'
import { watchLead } from './agreement.js'
import { createDeviceClasses, type DeviceClasses } from './device-classes.js'
import { createExpertLoad, type ExpertLoad } from './expert-load.js'
import { createMembership, type Membership } from './membership.js'
import type { Placement } from './placement.js'
import { createPlacementManager, type PlacementManager } from './placement-manager.js'
import { createRebalancer, type Rebalancer } from './rebalancer.js'

const TICK_MS = 1_000

export interface ClusterState {
  readonly membership: Membership
  readonly classes: DeviceClasses
  readonly placement: PlacementManager
  readonly load: ExpertLoad
  readonly rebalancer: Rebalancer
  /** What this router's heartbeats say of the agreements. */
  readonly agreed: Pick<Body<'worker.heartbeat'>, 'plan' | 'classes'>
  observe(heartbeat: Heartbeat): void
  stop(): void
}

export interface ClusterStateOptions {
  readonly limits: Pick<RouterOptions, 'replicas' | 'numExperts' | 'rebalance'>
  readonly fingerprint: string // of checkpoint and weight format
  readonly numShards: number
  readonly numOpen: () => number
  /** Other device classes serve: nothing that was begun goes on. */
  readonly onClasses: (classes: string) => void
  readonly onGivenUp: (error: ClusterError) => void
  /** Something was agreed on: tell the others. */
  readonly onAgreed: () => void
}

export function createClusterState(deps: ServiceDeps, options: ClusterStateOptions): ClusterState {
  const { system, logger, id } = deps
  const { clock } = system
  const { limits, fingerprint, numShards } = options
  const membership = createMembership(deps)
  const isLead = watchLead(id, membership, clock)
  const classes = createDeviceClasses({
    membership,
    fingerprint,
    isStuck: () => placement.isStuck,
    isLead,
    now: () => clock.now(),
    numOpen: options.numOpen,
    onChange: (name) => {
      logger.warn({ deviceClass: name }, 'other device classes serve from now on')
      options.onClasses(name)
      placement.reconcile()
      options.onAgreed()
    },
    onGivenUp: options.onGivenUp,
  })
  const load = createExpertLoad(numShards)
  const placement = createPlacementManager({
    system,
    membership,
    logger,
    router: id,
    fingerprint,
    numShards,
    replicas: limits.replicas,
    minWorkers: Math.max(1, limits.numExperts),
    accepts: classes.accepts,
    standsBy: classes.standsBy,
    isLead,
    loads: () => load.windows[0],
    onAgreed: options.onAgreed,
  })
  const rebalancer = createRebalancer({ placement, load, isLead: () => limits.rebalance && isLead(), logger })
  const tick = (): void => {
    classes.tick(clock.monotonicMs())
    placement.reconcile() // a router that leads from now on says what it goes by
    rebalancer.tick()
    cancelTick = clock.after(TICK_MS, tick)
  }
  let cancelTick = clock.after(TICK_MS, tick)

  return {
    membership,
    classes,
    placement,
    load,
    rebalancer,
    get agreed() {
      const { agreed: plan } = placement
      const { agreed: of } = classes
      return {
        ...(plan && { plan: { version: plan.version, main: copy(plan.value.main), extra: copy(plan.value.extra) } }),
        ...(of && { classes: { version: of.version, ...of.value } }),
      }
    },
    observe: (heartbeat) => {
      const nowMs = clock.monotonicMs()
      classes.observe(heartbeat)
      membership.observe(heartbeat, nowMs)
      load.observe(heartbeat, nowMs)
      const { role, plan } = heartbeat
      if (role !== 'router' || heartbeat.fingerprint !== fingerprint || plan === undefined) return
      const { version, main, extra } = plan
      placement.heard({ version, value: { main, extra } })
    },
    stop: () => {
      cancelTick()
      placement.stop()
    },
  }
}

const copy = (placement: Placement): string[][] => placement.map((workers) => [...workers])
