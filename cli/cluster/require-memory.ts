// Whether the weights of a whole cluster can fit on this machine and into its processes: asked before anything starts, so
// that the answer is one error with the arithmetic.
//
// Invariants
//   RM1  Only what cannot work is refused: expert workers are taken to hold equal parts, and what a GPU holds is not
//        counted.

import { chooseDevice } from '../../lib/compute/gpu/choose-device.js'
import { engineRoom, processRoom, requireRoom, sized, type MemoryRoom } from '../../lib/compute/memory-room.js'
import type { ClusterConfig } from '../../lib/config/schema.js'
import { openModel } from '../../lib/model/checkpoint.js'
import { modelSizes } from '../../lib/model/sizes.js'

type Sized = Pick<
  ClusterConfig,
  'model' | 'weights' | 'attention' | 'experts' | 'replicas' | 'device' | 'attentionDevice' | 'expertDevice'
>

/** Throws `resource_exhausted` where they do not. `isOneProcess`: all services share an engine. */
export async function requireMemory(
  config: Sized,
  isOneProcess: boolean,
  room: MemoryRoom = processRoom(),
): Promise<void> {
  const checkpoint = await openModel(config.model)
  const sizes = modelSizes(checkpoint.spec, config.weights)
  checkpoint.close()
  const isOnCpu = (device: string | undefined): boolean => chooseDevice(device ?? config.device) === 'cpu'
  const numAttention = isOnCpu(config.attentionDevice) ? config.attention : 0
  const numExperts = isOnCpu(config.expertDevice) ? config.experts : 0
  const copies = Math.min(config.replicas, config.experts)
  const attention = sizes.attention + sizes.head
  const experts = copies * sizes.shards.reduce((sum, bytes) => sum + bytes, 0)
  const all = numAttention * attention + (numExperts > 0 ? experts : 0)
  const arithmetic = [
    ...(numAttention > 0 ? [`${numAttention} × attention and LM head (${sized(attention)})`] : []),
    ...(numExperts > 0 ? [`${copies} × experts of ${sizes.shards.length} shards (${sized(experts / copies)})`] : []),
  ].join(' + ')
  const what = `${config.model} in ${config.weights}`
  const engine = engineRoom(0)
  requireRoom(`${what}: ${arithmetic}`, all, isOneProcess ? [room, engine] : [room], { advice: ONE_MACHINE })
  if (isOneProcess) return
  if (numAttention > 0) requireRoom(`${what}: attention and LM head (${sized(attention)})`, attention, [engine])
  if (numExperts === 0) return
  const least = Math.ceil(experts / engine.bytes)
  requireRoom(`${what}: ${arithmetic}, for each of ${numExperts} expert workers`, experts / numExperts, [engine], {
    advice: `use --experts ${least} or more, or a smaller format (--weights int4)`,
  })
}

const ONE_MACHINE = 'use a smaller format (--weights int4), fewer replicas, or more machines'
