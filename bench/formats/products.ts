// One-thread products of weights in every layout that formats may have, against the usual one (a bfloat16 scale per 32
// weights), in turn.

import { createKernels, type Kernels } from '../../lib/compute/kernels.js'
import { addProduct, addRounding, placeLinear } from '../../lib/compute/placed-linear.js'
import { probeValues } from '../../lib/compute/probe-values.js'
import { BLOCK_SIZE, quantise } from '../../lib/compute/quantise.js'
import { packQuantised } from '../../lib/compute/tiles.js'
import { inTurn } from '../in-turn.js'
import { ratios, summarise, type Summary } from '../statistics.js'

const INPUTS = 2048
const OUTPUTS = 8192

export interface LayoutSpeed {
  readonly bits: 4 | 8
  readonly blockSize: number
  readonly scales: 'bfloat16' | 'float16'
  readonly rows: number
  readonly megabytes: number
  readonly rowsPerSecond: Summary
  readonly againstUsual: readonly number[] // rows per second over those of the usual layout, round by round
}

interface Layout extends Pick<LayoutSpeed, 'bits' | 'blockSize' | 'scales'> {
  readonly megabytes: number
  readonly run: (rows: number) => number // milliseconds
}

export interface LayoutOptions {
  readonly rows: readonly number[]
  readonly rounds: number
}

/** Measures eight and four bits; the first layout of each is the usual one. */
export async function measureLayouts({ rows, rounds }: LayoutOptions): Promise<LayoutSpeed[]> {
  const kernels = createKernels(1)
  const results = ([8, 4] as const).flatMap((bits) => {
    const layouts = [
      placeLayout(kernels, { bits, blockSize: 32, scales: 'bfloat16' }),
      placeLayout(kernels, { bits, blockSize: 64, scales: 'bfloat16' }),
      placeLayout(kernels, { bits, blockSize: 128, scales: 'bfloat16' }),
      placeLayout(kernels, { bits, blockSize: INPUTS, scales: 'bfloat16' }),
      placeLayout(kernels, { bits, blockSize: 32, scales: 'float16' }),
    ]
    return rows.flatMap((count) => compare(layouts, count, rounds))
  })
  await kernels.dispose()
  return results
}

function compare(layouts: readonly Layout[], rows: number, rounds: number): LayoutSpeed[] {
  const speeds = new Map<Layout, number[]>(layouts.map((layout) => [layout, []]))
  for (let round = -1; round < rounds; round++) {
    for (const layout of inTurn(round, layouts)) {
      const milliseconds = layout.run(rows)
      if (round >= 0) speeds.get(layout)?.push((rows / milliseconds) * 1000) // the first round warms up
    }
  }
  const [usual = []] = speeds.values()
  return layouts.map((layout) => {
    const { bits, blockSize, scales, megabytes } = layout
    const of = speeds.get(layout) ?? []
    return { bits, blockSize, scales, rows, megabytes, rowsPerSecond: summarise(of), againstUsual: ratios(of, usual) }
  })
}

function placeLayout(kernels: Kernels, layout: Pick<LayoutSpeed, 'bits' | 'blockSize' | 'scales'>): Layout {
  const { bits, blockSize, scales } = layout
  const groups = { blocks: INPUTS / BLOCK_SIZE, blocksPerScale: blockSize / BLOCK_SIZE }
  const integers = quantise(probeValues(INPUTS * OUTPUTS, 3), bits, groups)
  const shape = { inputs: INPUTS, outputs: OUTPUTS }
  const set = packQuantised('w', shape, { ...integers, scaleNumbers: scales })
  const linear = placeLinear(kernels, set, 'w')
  const run = (rows: number): number => {
    const { scratch } = kernels
    scratch.reset()
    const [x, rounded] = [scratch.take(rows * INPUTS * 4), scratch.take(rows * linear.rowBytes)]
    const [rowList, y] = [scratch.take(rows * 4), scratch.take(rows * linear.outputBytes)]
    kernels.floats(x, rows * INPUTS).set(probeValues(rows * INPUTS, 5))
    kernels.ints(rowList, rows).set(Array.from({ length: rows }, (_, row) => row))
    kernels.run(() => addRounding(kernels, linear, { x, stride: INPUTS * 4, rows, y: rounded }))
    const started = performance.now()
    kernels.run(() => addProduct(kernels, linear, { x: rounded, rowList, rows, y }))
    return performance.now() - started
  }
  return { ...layout, megabytes: (linear.tiles * linear.tileBytes) / 1e6, run }
}
