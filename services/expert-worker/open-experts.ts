// The experts of a worker on the device that it is to compute on. What computes on GPUs is loaded where there is one: its
// engine takes a tenth of a process's start, and 13 MB.

import type { ExpertNeighbour } from '../../lib/compute/expert-call.js'
import { probeDevice, requireExact } from '../../lib/compute/device-class.js'
import { openOnDevice } from '../../lib/compute/gpu/choose-device.js'
import type { FfnShape } from '../../lib/compute/gpu/device-probe.js'
import { sharedKernels } from '../../lib/compute/kernels.js'
import { engineRoom, processRoom, requireRoom, type MemoryRoom } from '../../lib/compute/memory-room.js'
import type { Provider } from '../../lib/compute/session.js'
import type { ExpertWorkerOptions, ServiceDeps } from '../../lib/config/service.js'
import {
  createDeviceExpertStore,
  createExpertStore,
  type ExpertStore,
  type ExpertStoreOptions,
} from '../../lib/decode/expert-store.js'
import { ClusterError } from '../../lib/errors.js'
import { modelSizes } from '../../lib/model/sizes.js'
import { SILU, type FfnSpec, type ModelSpec } from '../../lib/model/spec.js'

export interface OpenedExperts {
  readonly store: ExpertStore
  readonly deviceClass: string
  /** How attention in the same process finds experts that it can run in place. */
  readonly inPlace: Pick<ExpertNeighbour, 'kernels' | 'expert'>
}

type Place = Pick<ServiceDeps, 'kernels' | 'neighbours' | 'logger'>

/** Throws where there is no such device, or it does not keep a row's bits. `auto` then computes on the CPU. */
export function openExperts(
  place: Place,
  worker: Pick<ExpertWorkerOptions, 'device' | 'threads' | 'machineCode'>,
  options: ExpertStoreOptions,
): Promise<OpenedExperts> {
  return openOnDevice(worker.device, {
    onCpu: () => onCpu(place, worker, options),
    onDevice: (provider) => onDevice(provider, options),
    warn: (fields, message) => place.logger.warn(fields, message),
  })
}

function onCpu(
  { kernels: given, neighbours }: Place,
  { threads, machineCode }: Pick<ExpertWorkerOptions, 'threads' | 'machineCode'>,
  options: ExpertStoreOptions,
): OpenedExperts {
  const kernels =
    given ?? sharedKernels(threads, { company: neighbours === undefined ? 'shared' : 'alone', machineCode })
  const report = probeDevice(kernels, { formats: [options.format], attentions: [] })
  requireExact(report)
  const rooms = (): readonly MemoryRoom[] => [processRoom(kernels.freeBytes), engineRoom(kernels.usedBytes)]
  requireRoom(
    `${options.checkpoint.path}: experts of the largest shard in ${options.format}`,
    Math.max(...modelSizes(options.checkpoint.spec, options.format).shards),
    rooms(),
  )
  const store = createExpertStore({ ...options, kernels, rooms })
  return { store, deviceClass: report.deviceClass, inPlace: store }
}

async function onDevice(provider: Provider, options: ExpertStoreOptions): Promise<OpenedExperts> {
  const { spec } = options.checkpoint
  requireSilu(spec)
  const { probeProvider } = await import('../../lib/compute/gpu/device-probe.js')
  const { deviceExperts } = await import('../../lib/compute/gpu/device-experts.js')
  const report = probeProvider(provider, { formats: [options.format], shapes: shapesOf(spec) })
  requireExact(report)
  const engine = deviceExperts({ provider, hidden: spec.hidden, leastRows: report.leastRows.experts })
  return {
    store: createDeviceExpertStore(engine, options),
    deviceClass: report.deviceClass,
    inPlace: { kernels: undefined, expert: () => undefined },
  }
}

const expertsOf = ({ layers }: ModelSpec): readonly FfnSpec[] =>
  layers.flatMap(({ ffn }) => [...ffn.experts, ...(ffn.always === undefined ? [] : [ffn.always.ffn])])

/** The different shapes of a model's experts. */
const shapesOf = (spec: ModelSpec): readonly FfnShape[] =>
  [...new Set(expertsOf(spec).map(({ intermediate }) => intermediate))].map((inner) => ({ hidden: spec.hidden, inner }))

/** Devices compute no other activation. */
function requireSilu(spec: ModelSpec): void {
  const other = expertsOf(spec).find(({ activation = SILU }) => activation.type !== 'silu')?.activation
  if (other === undefined) return
  throw new ClusterError('unimplemented', `${spec.family}: want experts with silu on a device, got ${other.type}`)
}
