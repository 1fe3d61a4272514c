// Starts a drafter: opens its sources, answers proposals at its address, reports health.

import { createLeaving } from '../../lib/actor/leaving.js'
import { pingActor } from '../../lib/actor/ping.js'
import { createStallDetector } from '../../lib/actor/stall.js'
import { untilDrained } from '../../lib/actor/until.js'
import { createKernels, sharedKernels } from '../../lib/compute/kernels.js'
import { DRAIN_WAIT_MS } from '../../lib/config/drain-time.js'
import type { DrafterOptions, RunningService, ServiceDeps } from '../../lib/config/service.js'
import { watchLoad } from '../../lib/config/watch-load.js'
import { registryOf, startServiceHeartbeat } from '../../lib/config/service-health.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import { createCalibration } from './calibration.js'
import { drafterHandlers, type DraftLimits } from './draft-actor.js'
import { createDrafting, type Drafting } from './drafting.js'
import { createDrafterMetrics } from './metrics.js'
import { openSources } from './open-sources.js'

const MAILBOX_CAPACITY = 256
const MOST_WAIT_MS = 2_000 // no draft is waited for longer
const LIMITS: DraftLimits = { maxNodes: 256, maxSequences: 4096, maxTokens: 500_000 } // about 300 bytes per token

/**
 * Resolves when the drafter answers; throws where a source lacks what it needs. A restart of its actor begins with empty
 * state and asks for the tokens again.
 */
export async function startDrafter(deps: ServiceDeps, options: DrafterOptions): Promise<RunningService> {
  const { system, id, drainWaitMs = DRAIN_WAIT_MS } = deps
  const { threads, machineCode } = options
  const isAlone = deps.neighbours !== undefined // the other services compute when this one waits
  const ownKernels = () =>
    isAlone ? sharedKernels(threads, { machineCode }) : createKernels(threads, { company: 'shared', machineCode })
  const sources = await openSources(options, {
    clock: { ...system.clock, turn: watchLoad(deps).turn },
    kernels: () => deps.kernels ?? ownKernels(),
    onUnfit: (error) =>
      deps.logger.warn({ error: error.message }, 'a draft head does not fit the model: drafting without it'),
  })
  const ahead = options.ahead && !isAlone // in one process a step that is computed leaves no time
  const metrics = createDrafterMetrics(registryOf(deps, options.model), sources.names)
  let drafting: Drafting | undefined
  const actor = system.spawn({
    address: id,
    mailboxCapacity: MAILBOX_CAPACITY,
    systemKinds: new Set(),
    create: () => {
      drafting?.clear()
      drafting = createDrafting({ sources, calibration: createCalibration(sources.names), ahead })
      return drafterHandlers({
        drafting,
        clock: system.clock,
        tracer: deps.tracer,
        sourceNames: sources.names,
        hidden: sources.hidden,
        sharedNoise: options.sharedNoise,
        limits: LIMITS,
        metrics,
      })
    },
    onStop: () => drafting?.clear(), // nothing is drafted ahead with sources that are gone
  })
  metrics.queues(() => actor.queued)
  const stalls = createStallDetector(system.clock, (stalledMs) =>
    deps.logger.warn({ stalledMs }, 'the process stood still'),
  )
  const pings = system.spawn(pingActor(id)) // before it is heard of
  let state: Heartbeat['state'] = 'ready'
  const heartbeat = startServiceHeartbeat(deps, () => ({
    role: 'drafter',
    id,
    incarnation: deps.incarnation,
    pid: deps.pid,
    state,
    deviceClass: 'none',
    fingerprint: '-',
    shards: [],
    capacity: { kvTokens: 0, maxRows: 0 },
    load: { queued: actor.queued, hidden: sources.hidden, copies: copiesText(sources), ...stalls.load },
  }))
  const announce = (next: Heartbeat['state']): void => {
    state = next
    heartbeat.beat()
  }
  const close = async (): Promise<void> => {
    heartbeat.stop()
    stalls.stop()
    await Promise.all([actor.stop(), pings.stop()])
    sources.dispose()
  }
  return {
    address: id,
    ...createLeaving({
      announce,
      close,
      untilUnneeded: () => untilDrained(system.clock, () => actor.queued === 0, Math.min(drainWaitMs, MOST_WAIT_MS)),
    }),
  }
}

/** 1 where the text of a sequence itself is among the sources: a router may copy from it as well. */
const copiesText = ({ names }: { readonly names: readonly string[] }): number =>
  names.includes('prompt-lookup') ? 1 : 0
