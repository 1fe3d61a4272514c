// A helper of the engine: takes tasks while there are any, spins a while for the next run, then sleeps; rests while fewer
// helpers are wanted.

import { workerData } from 'node:worker_threads'
import { ACTIVE_WORD, instantiate, LIMIT_WORD, NUMBER_WORD, type KernelThreadData } from './kernel-instance.js'
import { threadNumber } from './thread-times.js'

const data = workerData as KernelThreadData // what `kernels.ts` starts it with
const { memory, spins, thread } = data
const { work, spinLimit } = instantiate(data)
const words = new Int32Array(memory.buffer)
Atomics.store(words, NUMBER_WORD + thread, threadNumber())

for (;;) {
  const active = Atomics.load(words, ACTIVE_WORD)
  if (thread > active) {
    Atomics.wait(words, ACTIVE_WORD, active)
    continue
  }
  const seen = Atomics.load(words, LIMIT_WORD)
  work()
  if (!spinLimit(seen, spins)) Atomics.wait(words, LIMIT_WORD, seen)
}
