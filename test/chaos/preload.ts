// Loaded into every process of a cluster before its own code (`node --import`), so that a case can do from outside what
// otherwise only a machine does: move the wall clock (monotonic time and timers stay, as they would), and have writes to
// files fail by a limit (`prlimit --fsize`), which without a listener for its signal would end the process.

import { existsSync, readFileSync } from 'node:fs'

const LOOK_EVERY_MS = 20
const file = process.env.CHAOS_CLOCK_FILE
const realNow = Date.now
let offsetMs = 0

/** The file: one line `PID OFFSET_MS` for a process, or `all OFFSET_MS`. */
function look(): void {
  if (file === undefined || !existsSync(file)) return
  const [who = '', offset = '0'] = readFileSync(file, 'utf8').trim().split(' ')
  if (who === 'all' || Number(who) === process.pid) offsetMs = Number(offset)
}

look()
setInterval(look, LOOK_EVERY_MS).unref()
Date.now = () => realNow() + offsetMs
process.on('SIGXFSZ', () => undefined) // the write fails with EFBIG
