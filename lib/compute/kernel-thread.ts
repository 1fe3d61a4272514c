// A helper of the engine: takes tasks while there are any, spins a while for the next run, then sleeps.

import { workerData } from 'node:worker_threads'
import { instantiate, LIMIT_WORD, type KernelThreadData } from './kernel-instance.js'

const data = workerData as KernelThreadData // what `kernels.ts` starts it with
const { memory, spins } = data
const { work, spinLimit } = instantiate(data)
const words = new Int32Array(memory.buffer)

for (;;) {
  const seen = Atomics.load(words, LIMIT_WORD)
  work()
  if (!spinLimit(seen, spins)) Atomics.wait(words, LIMIT_WORD, seen)
}
