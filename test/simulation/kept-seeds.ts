// Seeds that once failed: they run first, for ever. What a seed draws changes with `plan.ts`; what it found is also held by
// a test of its own beside the code that was wrong.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { repositoryRoot } from '../helpers/paths.js'

const schema = z.array(z.object({ seed: z.int(), scenario: z.string(), why: z.string().min(1) }))

export const keptSeeds = (): z.infer<typeof schema> =>
  schema.parse(JSON.parse(readFileSync(join(repositoryRoot, 'test/simulation/seeds.json'), 'utf8')))
