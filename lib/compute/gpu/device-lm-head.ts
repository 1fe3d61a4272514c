// Final norm and LM head on a device, for the rows that are sampled: one upload, one run, one download.

import type { WeightFormat } from '../../model/spec.js'
import { GraphBuilder } from '../graph.js'
import { linear, packLinear, rmsNorm } from '../linear.js'
import type { HeadShape, HeadWeights, LmHead } from '../lm-head.js'
import { createSession, type Provider } from '../session.js'
import { floatWeight, weightOf, type WeightSet } from '../weight-store.js'

/** The weights `norm`, `head.weights` and `head.scales`. */
export function packDeviceLmHead({ norm, head }: HeadWeights, format: WeightFormat): WeightSet {
  return { norm: floatWeight(norm, [norm.length]), ...packLinear('head', head, format) }
}

export interface DeviceHeadShape extends HeadShape {
  readonly provider: Provider
  readonly leastRows: number // with so many the device gives a row the same bits in any company
}

/** The head packed by `packDeviceLmHead`, on the device. */
export function createDeviceLmHead(set: WeightSet, shape: DeviceHeadShape): LmHead {
  const { provider, hidden, vocabSize, leastRows } = shape
  const norm = createSession(graphOf(set, shape, 'norm'), { provider })
  const head = createSession(graphOf(set, shape, 'head'), { provider })

  const input = (numRows: number) => {
    const data = new Float32Array(Math.max(numRows, leastRows) * hidden)
    return { x: { data, dims: [data.length / hidden, hidden] } }
  }

  return {
    run: (x, rows) => {
      if (rows.length === 0) return []
      const inputs = input(rows.length)
      rows.forEach((row, i) => inputs.x.data.set(x.subarray(row * hidden, (row + 1) * hidden), i * hidden))
      const logits = head.run(inputs).y!
      return rows.map((_, i) => logits.subarray(i * vocabSize, (i + 1) * vocabSize))
    },
    norm: (x) => {
      const inputs = input(x.length / hidden)
      inputs.x.data.set(x)
      return norm.run(inputs).y!.slice(0, x.length)
    },
    dispose: () => {
      norm.dispose()
      head.dispose()
    },
  }
}

function graphOf(set: WeightSet, { hidden, vocabSize, epsilon }: HeadShape, end: 'norm' | 'head') {
  const graph = new GraphBuilder()
  const normed = rmsNorm(graph, graph.input('x', ['rows', hidden]), weightOf(set, 'norm'), epsilon)
  if (end === 'norm') graph.output(normed, 'y', ['rows', hidden])
  else graph.output(linear(graph, normed, set, 'head'), 'y', ['rows', vocabSize])
  return graph.build(end)
}
