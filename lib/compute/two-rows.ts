// The two-row rule: where a kernel takes another path at one row (and so other bits), a single row is run as two
// copies and the first result kept. Whether that is needed is measured at start (`device-class.ts`), never assumed.

import { ClusterError } from '../errors.js'
import type { Matrix, Session } from './session.js'

/** A session whose inputs are [rows, …] (or [1, rows]), never run with fewer than `minRows` rows. */
export function withMinRows(session: Session, minRows: 1 | 2): Session {
  if (minRows === 1) return session
  return {
    dispose: () => session.dispose(),
    run: (inputs) => {
      const isSingle = Object.values(inputs).every(({ dims }) => dims[0] === 1 && (dims[1] ?? 1) >= 1)
      const numRows = Object.values(inputs).find(({ data }) => data instanceof Float32Array)?.dims[0]
      if (!isSingle || numRows !== 1) return session.run(inputs)
      const doubled = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, twice(value)]))
      const outputs = session.run(doubled)
      return Object.fromEntries(
        Object.entries(outputs).map(([name, value]) => [name, value.subarray(0, value.length / 2)]),
      )
    },
  }
}

function twice({ data, dims }: Matrix): Matrix {
  if (data instanceof Uint8Array) throw new ClusterError('internal', 'two rows: want numbers, got booleans')
  if (data instanceof BigInt64Array) return { data: BigInt64Array.of(0n, 1n), dims: [1, 2] } // places 0, 1
  const doubled = new Float32Array(data.length * 2)
  doubled.set(data)
  doubled.set(data, data.length)
  return { data: doubled, dims: [2, ...dims.slice(1)] }
}
