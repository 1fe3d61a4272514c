// Loaded into every process of a cluster before its own code (`node --import`): a wall clock that a case can move, as an
// operator or a time server moves a machine's. Monotonic time and timers are left alone, as they are there.

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
