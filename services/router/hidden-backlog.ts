// Last hidden states of a sequence on their way from the attention worker to a drafter. The router passes bytes on and
// reads none of them.
//
// Invariants
//   H1  Rows are of committed tokens one after the other; a gap begins a new run and drops what was before it.
//   H2  Bounded: of what is too much the oldest goes. A drafter without it guesses worse, nothing else.

import { ClusterError } from '../../lib/errors.js'
import { bytesOfF32, type WireTensor } from '../../lib/wire/tensor.js'

const MAX_ROWS = 256 // of a sequence

export interface HiddenBacklog {
  readonly from: number // position of the first row
  readonly numRows: number
  readonly width: number // floats
  readonly parts: readonly Uint8Array[]
}

/** The rows of these nodes of an entry, whose tokens come at `position`, behind the backlog. */
export function keepHidden(
  backlog: HiddenBacklog | undefined,
  hidden: WireTensor,
  nodes: readonly number[],
  position: number,
): HiddenBacklog {
  const width = hidden.shape[1] ?? 0
  const bytes = bytesOfF32(hidden, 'hidden')
  const rowBytes = width * 4
  const isChain = nodes.every((node, i) => node === i)
  const rows = isChain
    ? [bytes.slice(0, nodes.length * rowBytes)] // a copy: the frame is not kept alive for it
    : nodes.map((node) => bytes.slice(node * rowBytes, (node + 1) * rowBytes))
  const follows = backlog?.width === width && backlog.from + backlog.numRows === position
  const parts = follows ? [...backlog.parts, ...rows] : rows
  return bounded({
    from: follows ? backlog.from : position,
    numRows: (follows ? backlog.numRows : 0) + nodes.length,
    width,
    parts,
  })
}

function bounded(backlog: HiddenBacklog): HiddenBacklog {
  const rowBytes = backlog.width * 4
  let { from, numRows } = backlog
  const parts = [...backlog.parts]
  while (parts.length > 1 && numRows > MAX_ROWS) {
    const numDropped = (parts.shift()?.byteLength ?? 0) / rowBytes
    from += numDropped
    numRows -= numDropped
  }
  return { ...backlog, from, numRows, parts }
}

/** The rows as a tensor f32 [rows, width]. */
export function packHidden({ numRows, width, parts }: HiddenBacklog): WireTensor {
  const data = Buffer.concat(parts)
  if (data.byteLength !== numRows * width * 4) {
    throw new ClusterError('internal', `hidden rows: want ${numRows} x ${width} floats, got ${data.byteLength} bytes`)
  }
  return { dtype: 'f32', shape: [numRows, width], data }
}
