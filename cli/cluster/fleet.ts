// As many services of every role as are asked for, however they run: in processes or in this one.
//
// Invariants
//   F1  The services of a role have the indices from 0 up. More of them take the next ones; fewer means that the highest
//       drain and leave.
//   F2  An index is taken again only when who had it is gone: two services never answer at one address.
//   F3  After `leave` resolves no service is left.
//   F4  A service that was asked for later and does not start is tried again, less and less often.

import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import type { Role } from '../../lib/wire/messages.js'
import {
  mergeSizes,
  PROCESS_SIZES,
  ROLE_OF,
  type ProcessSize,
  type Sizes,
  type WantedSizes,
} from '../../lib/wire/sizes.js'
import type { RunningServices } from './services.js'
import type { Doors } from './supervise.js'

const FIRST_RETRY_MS = 500
const MOST_RETRY_MS = 30_000

/** One service, from its start on. */
export interface Member {
  /** Resolves when it serves; a router's doors, else undefined. */
  readonly started: Promise<Doors | undefined>
  /** Resolves when it is gone. */
  leave(how: 'drain' | 'stop'): Promise<void>
}

export interface FleetOptions {
  readonly config: ClusterConfig
  readonly logger: Logger
  /** `sizes` are those asked for now, also by a service that is started again. */
  readonly launch: (role: Role, index: number, sizes: () => Sizes) => Member
  readonly onStarted: () => void // once per service of the first start
  readonly signal: AbortSignal // ends the first start
}

interface Slot {
  readonly member: Member
  doors: Doors | undefined
  leaving: Promise<void> | undefined
}

/** Starts the services; resolves when each serves. Throws the first one's error after the others are gone. */
export async function startFleet(options: FleetOptions): Promise<RunningServices> {
  const { config, logger, onStarted, signal } = options
  const { routers, attention, experts, drafters, replicas } = config
  let sizes: Sizes = { routers, attention, experts, drafters, replicas }
  const slots: Record<ProcessSize, Map<number, Slot>> = {
    routers: new Map(),
    attention: new Map(),
    experts: new Map(),
    drafters: new Map(),
  }
  const listeners: (() => void)[] = []
  let isLeaving = false
  const retries = new Set<NodeJS.Timeout>()

  const doorsOf = (): Doors[] =>
    [...slots.routers.values()].flatMap(({ doors, leaving }) =>
      doors === undefined || leaving !== undefined ? [] : [doors],
    )
  const changed = (): void => listeners.forEach((listener) => listener())

  const fill = (name: ProcessSize, index: number): Slot => {
    const slot: Slot = {
      member: options.launch(ROLE_OF[name], index, () => sizes),
      doors: undefined,
      leaving: undefined,
    }
    slots[name].set(index, slot)
    void slot.member.started.then(
      (doors) => {
        slot.doors = doors
        if (doors !== undefined) changed()
      },
      () => undefined, // told below to whoever waits for it
    )
    return slot
  }

  const vacate = async (name: ProcessSize, index: number, how: 'drain' | 'stop'): Promise<void> => {
    const slot = slots[name].get(index)
    if (slot === undefined) return
    const leaving = slot.member.leave(how)
    slot.leaving = leaving
    if (slot.doors !== undefined) changed()
    await leaving
    slots[name].delete(index)
  }

  /** In the background; who does not leave keeps its index (F2). */
  const sendAway = (name: ProcessSize, index: number, how: 'drain' | 'stop', whenGone: () => void): void => {
    vacate(name, index, how).then(whenGone, (error: unknown) => tell(name, index, error, 'a service did not leave'))
  }

  const tell = (name: ProcessSize, index: number, error: unknown, what: string): void => {
    logger.error({ service: `${ROLE_OF[name]}-${index}`, error: ClusterError.from(error).message }, what)
  }

  /** Starts what is missing and sends away what is too many; again when one of these is gone (F2). */
  const reconcile = (): void => {
    if (isLeaving) return
    for (const name of PROCESS_SIZES) {
      for (let index = 0; index < sizes[name]; index++) if (!slots[name].has(index)) add(name, index)
      for (const [index, slot] of slots[name]) {
        if (index >= sizes[name] && slot.leaving === undefined) sendAway(name, index, 'drain', reconcile)
      }
    }
  }

  const add = (name: ProcessSize, index: number, retryMs = FIRST_RETRY_MS): void => {
    const slot = fill(name, index)
    slot.member.started.catch((error: unknown) => {
      if (isLeaving || slot.leaving !== undefined) return
      tell(name, index, error, 'a service that was asked for did not start')
      sendAway(name, index, 'stop', () => addLater(name, index, retryMs))
    })
  }

  const addLater = (name: ProcessSize, index: number, delayMs: number): void => {
    if (isLeaving) return
    const timer = setTimeout(() => {
      retries.delete(timer)
      const isWanted = index < sizes[name] && !slots[name].has(index)
      if (isWanted) add(name, index, Math.min(MOST_RETRY_MS, 2 * delayMs))
    }, delayMs)
    retries.add(timer)
  }

  const leaveAll = async (names: readonly ProcessSize[], how: 'drain' | 'stop'): Promise<void> => {
    await Promise.all(names.flatMap((name) => [...slots[name].keys()].map((index) => vacate(name, index, how))))
  }

  const leave = async (how: 'drain' | 'stop'): Promise<void> => {
    isLeaving = true
    for (const timer of retries) clearTimeout(timer)
    await leaveAll(['routers'], how) // they still need the workers
    await leaveAll(['attention', 'experts', 'drafters'], 'stop')
  }

  const abort = (): void => void leave('stop') // every `started` then fails, which ends the wait below
  signal.addEventListener('abort', abort, { once: true })
  try {
    const first = (['routers', 'experts', 'attention', 'drafters'] as const).flatMap((name) =>
      Array.from({ length: sizes[name] }, (_, index) => fill(name, index)),
    )
    await Promise.all(first.map(({ member }) => member.started.then(onStarted)))
  } catch (error) {
    await leave('stop')
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
  return {
    get routers() {
      return doorsOf()
    },
    onRouters: (listener) => void listeners.push(listener),
    scale: (wanted: WantedSizes): Sizes => {
      if (isLeaving) throw new ClusterError('unavailable', 'scale: the cluster is leaving')
      sizes = mergeSizes(sizes, wanted)
      reconcile()
      return sizes
    },
    leave,
  }
}
