// Simulated processes: a machine, its connections, where it keeps records, and what its services are given of it.

import { trace } from '@opentelemetry/api'
import { createActorSystem } from '../../lib/actor/system.js'
import { randomHex } from '../../lib/actor/random-id.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import type { Logger, ServiceDeps } from '../../lib/config/service.js'
import { createBusTransport } from '../../lib/transport/bus-transport.js'
import { openStoreOn } from '../../lib/transport/file-store.js'
import { createLocalHub } from '../../lib/transport/local.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import type { Place, Surroundings } from './cluster.js'
import { connectLocally } from './local-connection.js'
import { createMachine, type Machine } from './machine.js'
import type { Connection } from './network.js'
import type { ServiceDisk } from './service-disk.js'
import type { Shape } from './services.js'
import { storeOver } from './store.js'

const VERSION_ONE = { lowest: 1, highest: 1 }
const DAY_MS = 86_400_000 // records outlive the jumps of a clock
const MIN_GARBAGE_BYTES = 2_000 // few records are written: the file is rewritten all the same

/** One life of a process. */
export interface Process {
  readonly machine: Machine
  /** Of one more of its services. */
  connect(): Connection
  openRecords(): Promise<RecordStore>
  depsOf(place: Place, records: RecordStore): ServiceDeps
}

export type ProcessMaker = (name: string, life: number) => Process

export function createProcessMaker(
  shape: Shape,
  { timeline, network, log, metered, records: shared, maxPayloadBytes, randomFor }: Surroundings,
  disk: ServiceDisk | undefined, // of a cluster that is one process
): ProcessMaker {
  return (name, life) => {
    const random = randomFor(`${name} life ${life}`)
    const incarnation = randomHex(random, 8)
    const machine = createMachine({ id: name, incarnation, timeline, random, enter: metered.enter })
    const { clock } = machine
    const isOlder = shape.mixesBuilds && Number.parseInt(incarnation, 16) % 2 === 0
    const build = isOlder ? { speaks: VERSION_ONE, reads: VERSION_ONE } : {}
    const note = (line: string): void => log.note(timeline.nowMs, line)

    const depsOf = ({ id, connection }: Place, records: RecordStore): Omit<ServiceDeps, 'neighbours'> => {
      const kind = disk === undefined ? 'nats' : 'local'
      const transport = createBusTransport(connection.bus, { kind, maxMessageBytes: 2 ** 24, clock, random })
      return {
        system: createActorSystem({ transport, clock, random, cluster: 'simulated', node: id, ...build }),
        transport,
        tracer: trace.getTracer('simulation'),
        logger: loggerOf(id, note),
        cluster: 'simulated',
        id,
        incarnation: disk === undefined ? incarnation : randomHex(random, 8), // every service has its own
        pid: 1,
        kernels: metered.kernels,
        records,
      }
    }

    if (disk === undefined) {
      const link = network.connect(machine)
      return { machine, connect: () => link, openRecords: async () => storeOver(link, shared), depsOf }
    }
    const neighbours: ExpertNeighbours = new Map()
    const hub = createLocalHub((run) => void timeline.at(machine.sendMs, () => machine.run(run)))
    const ownDisk = disk.attach(machine)
    return {
      machine,
      connect: () => connectLocally({ machine, bus: hub.connect(maxPayloadBytes), log, timeline }),
      openRecords: () =>
        openStoreOn(ownDisk, {
          maxAgeMs: DAY_MS,
          minGarbageBytes: MIN_GARBAGE_BYTES,
          now: () => clock.monotonicMs(),
          wallNow: () => clock.now(),
          after: (delayMs, run) => clock.after(delayMs, run),
          onDamage: note,
        }),
      depsOf: (place, records) => ({ ...depsOf(place, records), neighbours }),
    }
  }
}

function loggerOf(id: string, write: (line: string) => void): Logger {
  const at = (level: string) => (fields: object, text: string) =>
    write(`${id} ${level}: ${text} ${JSON.stringify(fields)}`)
  return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error') }
}
