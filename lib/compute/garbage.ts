// What a load leaves behind as it goes: arrays outside of the JavaScript heap, which V8 counts but, inside one long
// synchronous stretch, lets pile up to hundreds of megabytes. A load bounds what it holds by having them collected. That
// looks through the whole heap, so a large heap may have more of them.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const MOST_BYTES = 4 * 2 ** 20
const MOST_OF_HEAP = 0.25

let collect: (() => void) | undefined
let afterLast = 0

/** Has dropped arrays collected where more than a few were made since the last time. */
export function collectDropped(): void {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  if (arrayBuffers < afterLast + Math.max(MOST_BYTES, MOST_OF_HEAP * heapUsed)) return
  collect ??= exposed()
  collect()
  afterLast = process.memoryUsage().arrayBuffers
}

function exposed(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void // what the flag adds to new contexts
}
