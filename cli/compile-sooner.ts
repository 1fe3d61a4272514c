// Has V8 compile what runs often sooner than it would by itself, because a process of a cluster runs the same functions
// with every step: by V8's own measure (67584 units of bytecode, several times over) a step has its full speed after some
// thousand tokens, by this one after some hundred (docs/performance.md). Not at once, because compiling takes the cores
// from the first answers: a command that generates one text is over by then. Speed only: what JavaScript computes is the
// same in every tier. Who gives `node` the flag keeps theirs.

import { setFlagsFromString } from 'node:v8'

const FLAG = '--interrupt-budget'
const BUDGET = 10_000
const AFTER_MS = 2_000

if (!process.execArgv.some((flag) => flag.startsWith(FLAG)))
  setTimeout(() => setFlagsFromString(`${FLAG}=${BUDGET}`), AFTER_MS).unref()
