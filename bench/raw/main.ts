// `npm run bench:raw`: what this machine and the parts under Banyan give at most, so that other figures have a measure.

import { parseArgs } from 'node:util'
import { cacheFolder } from '../../cli/cluster/choose-transport.js'
import { ENGINE_VERSION } from '../../lib/compute/session.js'
import { findNatsServer, startNatsServer } from '../../lib/transport/nats-server.js'
import { describeMachine, machineLine } from '../machine.js'
import { writeSection } from '../report.js'
import { largestCacheBytes } from './caches.js'
import { measureExperts } from './experts.js'
import { measureMemory } from './memory.js'
import { measureNetwork, type RoundTrip } from './network.js'
import { measureProducts } from './products.js'
import { rawSection, type RawResults } from './section.js'

const USAGE = `usage: npm run bench:raw -- [--quick] [--json]
  --quick  fewer repetitions and less memory, for a look
  --json   prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const cacheBytes = largestCacheBytes()
  const size = flags.quick
    ? { bytesPerThread: Math.max(2 ** 27, cacheBytes), repetitions: 3, roundTrips: 300 }
    : { bytesPerThread: Math.max(2 ** 28, 2 * cacheBytes), repetitions: 9, roundTrips: 3000 }
  const leastBytes = Math.max(2 ** 29, 2 * cacheBytes)
  const threadCounts = [1, 2]
  const results: RawResults = {
    machine: describeMachine(), // before: its load is the others’
    cacheBytes,
    memory: await measureMemory({ ...size, threadCounts }),
    products: measureProducts({ ...size, threadCounts, formats: ['f32', 'int8', 'int4'], rows: [1, 64, 512] }),
    experts: await measureExperts({ ...size, threadCounts, formats: ['int8', 'int4'], rows: [1, 64], leastBytes }),
    network: await network(size.roundTrips),
  }
  if (flags.json) return console.log(JSON.stringify(results))
  const section = rawSection(results, machineLine(results.machine, [ENGINE_VERSION]))
  writeSection('raw', section)
  console.log(section)
}

async function network(roundTrips: number): Promise<RoundTrip[]> {
  const where = { binary: process.env.BANYAN_NATS_SERVER, path: process.env.PATH ?? '' }
  const found = await findNatsServer({ ...where, cacheFolder: cacheFolder(process.env), mayFetch: true })
  if (found === undefined) throw new Error('want a nats-server (PATH or BANYAN_NATS_SERVER), found none')
  const server = await startNatsServer({ binary: found.binary })
  try {
    return await measureNetwork({ natsUrl: server.url, payloads: [1024, 16_384, 65_536], roundTrips })
  } finally {
    await server.stop()
  }
}

if (flags.help) console.log(USAGE)
else await main()
