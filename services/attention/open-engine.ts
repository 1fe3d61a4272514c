// What an attention worker computes with: probed where it starts, loaded once it is heard of. The code for GPUs is loaded
// where there is one (`services/expert-worker/open-experts.ts`).

import { probeDevice, requireExact } from '../../lib/compute/device-class.js'
import { openOnDevice } from '../../lib/compute/gpu/choose-device.js'
import { sharedKernels, type Kernels } from '../../lib/compute/kernels.js'
import { engineRoom, processRoom, requireRoom } from '../../lib/compute/memory-room.js'
import type { Provider } from '../../lib/compute/session.js'
import type { WeightStore } from '../../lib/compute/weight-store.js'
import type { AttentionOptions, ServiceDeps } from '../../lib/config/service.js'
import type { LoadWatch } from '../../lib/config/watch-load.js'
import type { AttentionEngine } from '../../lib/decode/attention-engine.js'
import { geometryOf, loadAttentionModel } from '../../lib/decode/attention-model.js'
import { createCpuAttentionEngine } from '../../lib/decode/cpu-attention-engine.js'
import type { OnProgress } from '../../lib/decode/load-progress.js'
import { probedAttentions } from '../../lib/decode/probed-attentions.js'
import { requireDeviceAttention } from '../../lib/decode/device-features.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { KvFormat } from '../../lib/model/kv-formats.js'
import { modelSizes } from '../../lib/model/sizes.js'

export interface OpenedEngine {
  readonly deviceClass: string
  readonly load: (weights: WeightStore) => Promise<AttentionEngine>
}

/** Throws where there is no such device, or it does not keep a row's bits. `auto` then computes on the CPU. */
export function openEngine(
  deps: ServiceDeps,
  options: AttentionOptions,
  { checkpoint, watch }: { readonly checkpoint: Checkpoint; readonly watch: LoadWatch },
): Promise<OpenedEngine> {
  const kernels =
    deps.kernels ??
    sharedKernels(options.threads, {
      company: deps.neighbours === undefined ? 'shared' : 'alone',
      machineCode: options.machineCode,
    })
  const load: Load = {
    checkpoint,
    format: options.model.weights,
    kv: options.model.kvFormat ?? 'f32',
    kernels,
    turn: watch.turn,
    onProgress: watch.onProgress,
    onDeviceLost: deps.onDeviceLost,
  }
  return openOnDevice(options.device, {
    onCpu: () => onCpu(load),
    onDevice: (provider) => onDevice(provider, load),
    warn: (fields, message) => deps.logger.warn(fields, message),
  })
}

interface Load {
  readonly checkpoint: Checkpoint
  readonly format: AttentionOptions['model']['weights']
  readonly kv: KvFormat
  readonly kernels: Kernels
  readonly turn: () => Promise<void>
  readonly onProgress: OnProgress
  readonly onDeviceLost: ServiceDeps['onDeviceLost']
}

function onCpu({ checkpoint, ...load }: Load): OpenedEngine {
  const attentions = probedAttentions(checkpoint.spec, load.kv)
  const report = probeDevice(load.kernels, { formats: [load.format], attentions })
  requireExact(report)
  return {
    deviceClass: report.deviceClass,
    load: async (weights) => {
      const { attention, head } = modelSizes(checkpoint.spec, load.format)
      const what = `${checkpoint.path}: attention and LM head in ${load.format}`
      requireRoom(what, attention + head, [processRoom(), engineRoom(load.kernels.usedBytes)])
      return createCpuAttentionEngine(await loadAttentionModel(checkpoint, { ...load, weights }))
    },
  }
}

async function onDevice(provider: Exclude<Provider, 'cpu'>, { checkpoint, ...load }: Load): Promise<OpenedEngine> {
  const { spec } = checkpoint
  const { format } = load
  if (load.kv !== 'f32') {
    throw new ClusterError(
      'unimplemented',
      `KV in ${load.kv} on ${provider}: want --kv-format f32, or attention on cpu`,
    )
  }
  requireDeviceAttention(spec)
  const { probeProvider } = await import('../../lib/compute/gpu/device-probe.js')
  const { loadDeviceEngine } = await import('../../lib/decode/device-attention-engine.js')
  const report = probeProvider(provider, {
    formats: [format],
    attentions: [{ ...geometryOf(spec), hidden: spec.hidden }],
  })
  requireExact(report)
  return {
    deviceClass: report.deviceClass,
    load: (weights) => loadDeviceEngine(checkpoint, { ...load, weights, provider, leastRows: report.leastRows }),
  }
}
